package wshub

import (
	"fmt"
	"unicode/utf8"

	"github.com/wshub-go/wshub/internal/mesh"
)

// maxName bounds a name as the subjects of a bus have it.
const maxName = mesh.MaxToken

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
	if n := mesh.TokenLen(name); n > maxName {
		return fmt.Errorf("%w: %q... has %d bytes once encoded, at most %d are allowed", ErrName, clip(name), n, maxName)
	}
	return nil
}

// clip shortens a hostile name for an error; %q makes the rest harmless.
func clip(name string) string { return name[:min(len(name), 32)] }
