package wshub

import (
	"encoding/binary"
	"reflect"

	"github.com/wshub-go/wshub/internal/mesh"
)

// Keys of kinds that are short travel with their values, so that nobody has to decode a value for its key: a byte that
// says what it is, and the key. The byte is there for nodes that are of different versions of a program: a key of
// another kind is none, and the value is decoded.
const (
	keyString   = 's'
	keyBool     = 'b'
	keyInt      = 'i' // 8 bytes, big endian, two's complement
	keyUnsigned = 'u' // 8 bytes, big endian
)

// maxKeyText is how long a string may be that travels as a key.
const maxKeyText = mesh.MaxKey - 1

// keyWire returns how keys of type K travel, nil when they do not: out returns nil for one that is too long, and in nil
// for what is no key of K's.
func keyWire[K comparable]() (out func(key any) []byte, in func([]byte) any) {
	typ := reflect.TypeFor[K]()
	switch typ.Kind() {
	case reflect.String:
		return func(key any) []byte {
				s, ok := key.(string)
				if !ok {
					s = reflect.ValueOf(key).String()
				}
				if len(s) > maxKeyText {
					return nil
				}
				return append([]byte{keyString}, s...)
			}, func(b []byte) any {
				if len(b) == 0 || b[0] != keyString {
					return nil
				}
				v := reflect.New(typ).Elem()
				v.SetString(string(b[1:]))
				return v.Interface()
			}
	case reflect.Bool:
		return func(key any) []byte {
				if reflect.ValueOf(key).Bool() {
					return []byte{keyBool, 1}
				}
				return []byte{keyBool, 0}
			}, func(b []byte) any {
				if len(b) != 2 || b[0] != keyBool || b[1] > 1 {
					return nil
				}
				v := reflect.New(typ).Elem()
				v.SetBool(b[1] == 1)
				return v.Interface()
			}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(key any) []byte {
				return binary.BigEndian.AppendUint64([]byte{keyInt}, uint64(reflect.ValueOf(key).Int()))
			}, func(b []byte) any {
				if len(b) != 9 || b[0] != keyInt {
					return nil
				}
				n := int64(binary.BigEndian.Uint64(b[1:]))
				v := reflect.New(typ).Elem()
				if v.OverflowInt(n) {
					return nil
				}
				v.SetInt(n)
				return v.Interface()
			}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(key any) []byte {
				return binary.BigEndian.AppendUint64([]byte{keyUnsigned}, reflect.ValueOf(key).Uint())
			}, func(b []byte) any {
				if len(b) != 9 || b[0] != keyUnsigned {
					return nil
				}
				n := binary.BigEndian.Uint64(b[1:])
				v := reflect.New(typ).Elem()
				if v.OverflowUint(n) {
					return nil
				}
				v.SetUint(n)
				return v.Interface()
			}
	}
	return nil, nil
}
