package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Subjects of the bus. See the package.
const (
	subjectAll     = "wshub.all"
	subjectControl = "wshub.c"
	prefixNode     = "wshub.n."
	prefixTopic    = "wshub.t."
	prefixUser     = "wshub.u."
	prefixUserHash = "wshub.uh."
	prefixPresence = "wshub.p."
)

// MaxToken is how long a token may be, in bytes. A subject with a prefix and such a token stays far below what brokers
// accept: one of them ends the connection for good when a subject is longer than its line buffer.
const MaxToken = 255

// nodeSubject returns the subject of a node, whose id is a token as it is.
func nodeSubject(node string) string { return prefixNode + node }

// userSubject returns the subject of a user. An id can be any string, so that one whose token would be too long is told by
// its hash.
func userSubject(user string) string {
	if TokenLen(user) > MaxToken {
		sum := sha256.Sum256([]byte(user))
		return prefixUserHash + hex.EncodeToString(sum[:])
	}
	return subject(prefixUser, user)
}

// subject returns prefix with the token of name.
func subject(prefix, name string) string {
	var b strings.Builder
	b.Grow(len(prefix) + TokenLen(name))
	b.WriteString(prefix)
	writeToken(&b, name)
	return b.String()
}

const upperHex = "0123456789ABCDEF"

// Token writes a name as one token of [A-Za-z0-9_-], for subjects of a bus, where separators and wildcards have a meaning.
// Letters, digits and "-" stand for themselves, "__" for "_", and "_XX" for any other byte, in upper case hexadecimal.
// Reading from the left it is plain which of the three is next, so different names never share a token.
//
// Base64 would be a third shorter for scripts other than Latin, but nobody could read the subjects of an ordinary hub in a
// broker's tools.
func Token(name string) string { return subject("", name) }

func writeToken(b *strings.Builder, name string) {
	for i := range len(name) {
		switch c := name[i]; {
		case plainInToken(c):
			b.WriteByte(c)
		case c == '_':
			b.WriteString("__")
		default:
			b.WriteByte('_')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
}

// TokenLen returns the length of a name's token, without making it.
func TokenLen(name string) int {
	n := len(name)
	for i := range len(name) {
		switch c := name[i]; {
		case plainInToken(c):
		case c == '_':
			n++
		default:
			n += 2
		}
	}
	return n
}

// isToken reports whether a name can be a token as it is, as the ids of nodes are.
func isToken(name []byte) bool {
	for _, c := range name {
		if !plainInToken(c) && c != '_' {
			return false
		}
	}
	return len(name) > 0 && len(name) <= MaxToken
}

func plainInToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-'
}
