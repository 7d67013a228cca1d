package contender

// compressFrom is from how many bytes on a message is compressed: below, none of the libraries gains anything.
const compressFrom = 256
