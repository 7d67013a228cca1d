package wshub

import (
	"fmt"
	"unicode/utf8"
)

// maxName bounds a name as appendName writes it. A subject with a prefix and
// such a token stays far below what brokers accept: one of them ends the
// connection for good when a subject is longer than its line buffer.
const maxName = 255

// validateName checks the name of a topic or a family, or what else is to
// become one token of a subject: not empty, valid UTF-8, and at most 255 bytes
// once encoded. That is 255 letters, digits and dashes, or 85 bytes of anything
// else. The error matches ErrName.
func validateName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(name) > maxName: // before anything is made of it, encoding makes no name shorter
		return fmt.Errorf("%w: %q... has %d bytes, at most %d are allowed", ErrName, clip(name), len(name), maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %q is not valid UTF-8", ErrName, clip(name))
	}
	if n := encodedLen(name); n > maxName {
		return fmt.Errorf("%w: %q... has %d bytes once encoded, at most %d are allowed", ErrName, clip(name), n, maxName)
	}
	return nil
}

// clip shortens a hostile name for an error; %q makes the rest harmless.
func clip(name string) string { return name[:min(len(name), 32)] }

const upperHex = "0123456789ABCDEF"

// encodeName writes a name as one token of [A-Za-z0-9_-], for subjects of a
// bus, where separators and wildcards have a meaning. Letters, digits and "-"
// stand for themselves, "__" for "_", and "_XX" for any other byte, in upper
// case hexadecimal. Reading from the left it is plain which of the three is
// next, so different names never share a token.
//
// Base64 would be a third shorter for scripts other than Latin, but nobody
// could read the subjects of an ordinary hub in a broker's tools.
func encodeName(name string) string {
	return string(appendName(make([]byte, 0, encodedLen(name)), name))
}

func appendName(dst []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case plainInName(c):
			dst = append(dst, c)
		case c == '_':
			dst = append(dst, '_', '_')
		default:
			dst = append(dst, '_', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

func encodedLen(name string) int {
	n := len(name)
	for i := range len(name) {
		switch c := name[i]; {
		case plainInName(c):
		case c == '_':
			n++
		default:
			n += 2
		}
	}
	return n
}

func plainInName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-'
}
