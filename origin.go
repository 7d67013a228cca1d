package wshub

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// originCheck decides by the Origin header whether the page that opens a
// WebSocket may do so. Browsers always send it and pages cannot change it, so
// it keeps other sites from using a visitor's cookies. A request without one
// does not come from a page and passes.
//
// The zero value admits pages of the host the request was sent to. An
// originCheck is immutable.
type originCheck struct {
	any      bool
	patterns []origin // empty: the request's own host
}

// origin is a web origin in normal form: ASCII lower case, ws as http and wss
// as https, with the port spelled out. In a pattern, "*" among the labels of
// host stands for any one label.
type origin struct {
	scheme string
	host   string
	port   int // 0: a scheme without a default port, and none given
	ip     bool
}

// compileOrigins makes a check of patterns `scheme://host[:port]` in which a
// label "*" stands for any one label; "*" alone admits every origin. Given any
// pattern, pages of the request's own host need one too: otherwise a name that
// an attacker lets point at the server would do.
func compileOrigins(patterns []string) (originCheck, error) {
	var c originCheck
	for _, text := range patterns {
		if text == "*" {
			c.any = true
			continue
		}
		p, err := parseOrigin(text, true)
		if err != nil {
			return originCheck{}, fmt.Errorf("wshub: origin pattern %q: %w", text, err)
		}
		c.patterns = append(c.patterns, p)
	}
	return c, nil
}

// allow reports whether the origin of r, if it has one, is admitted.
func (c originCheck) allow(r *http.Request) bool {
	header := r.Header["Origin"]
	if len(header) == 0 || c.any {
		return true
	}
	if len(header) > 1 {
		return false
	}
	// "null", the origin of sandboxed frames and local files, does not parse,
	// and neither does anything with user info, a path or an empty label.
	o, err := parseOrigin(header[0], false)
	if err != nil {
		return false
	}
	if len(c.patterns) == 0 {
		return o.sameHost(r)
	}
	for _, p := range c.patterns {
		if p.matches(o) {
			return true
		}
	}
	return false
}

// sameHost reports whether o is the origin the request was sent to. A request
// over TLS has the scheme https. Without TLS the scheme is unknown, since a
// proxy in front may have ended it, so that the port decides when Host has
// one, and o's own scheme when it has not.
func (o origin) sameHost(r *http.Request) bool {
	if r.TLS != nil && o.scheme != "https" || defaultPort(o.scheme) == 0 {
		return false
	}
	host := origin{scheme: o.scheme}
	if err := host.setHost(r.Host, false); err != nil {
		return false
	}
	return host == o
}

// matches reports whether o fits the pattern p.
func (p origin) matches(o origin) bool {
	if p.scheme != o.scheme || p.port != o.port || p.ip != o.ip {
		return false
	}
	pattern, host := p.host, o.host
	for {
		want, patternRest, patternMore := strings.Cut(pattern, ".")
		got, hostRest, hostMore := strings.Cut(host, ".")
		fits := want == got || want == "*" && got != ""
		if !fits || patternMore != hostMore {
			return false
		}
		if !patternMore {
			return true
		}
		pattern, host = patternRest, hostRest
	}
}

// parseOrigin reads `scheme://host[:port]` and nothing else. net/url would
// take user info, paths and escapes, each of which has fooled a check before.
func parseOrigin(s string, pattern bool) (origin, error) {
	scheme, host, ok := strings.Cut(s, "://")
	if !ok {
		return origin{}, errors.New("want scheme://host[:port]")
	}
	scheme = lowerASCII(scheme)
	if !validScheme(scheme) {
		return origin{}, fmt.Errorf("invalid scheme %q", scheme)
	}
	switch scheme {
	case "ws":
		scheme = "http"
	case "wss":
		scheme = "https"
	}
	o := origin{scheme: scheme}
	err := o.setHost(host, pattern)
	return o, err
}

// setHost reads `host[:port]` for the scheme that o has.
func (o *origin) setHost(s string, pattern bool) error {
	host, port, hasPort := s, "", false
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return errors.New(`missing "]"`)
		}
		host = s[:end+1]
		if port, hasPort = strings.CutPrefix(s[end+1:], ":"); !hasPort && port != "" {
			return errors.New(`text after "]"`)
		}
	} else {
		host, port, hasPort = strings.Cut(s, ":")
	}
	o.port = defaultPort(o.scheme)
	if hasPort {
		n, err := parsePort(port)
		if err != nil {
			return err
		}
		o.port = n
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return fmt.Errorf("invalid IPv6 address %q", host)
		}
		o.host, o.ip = addr.String(), true
		return nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		o.host, o.ip = addr.String(), true
		return nil
	}
	o.host = lowerASCII(host)
	// The dot at the end of a fully qualified name makes another origin.
	for label := range strings.SplitSeq(strings.TrimSuffix(o.host, "."), ".") {
		if label == "*" && pattern {
			continue
		}
		if err := checkLabel(label); err != nil {
			return fmt.Errorf("invalid host %q: %w", host, err)
		}
	}
	return nil
}

func checkLabel(label string) error {
	if label == "" {
		return errors.New("empty label")
	}
	for i := range len(label) {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '*':
			return errors.New(`"*" stands for a whole label of a pattern`)
		case c >= 0x80:
			return errors.New("browsers send Punycode, such as xn--bcher-kva")
		default:
			return fmt.Errorf("character %q", c)
		}
	}
	return nil
}

// parsePort takes decimal digits only, and not port 0, which here means none.
func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || len(s) > 5 {
		return 0, fmt.Errorf("invalid port %q", s)
	}
	return int(n), nil
}

func validScheme(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

func defaultPort(scheme string) int {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}

// lowerASCII folds A to Z only. Unicode folding would make hosts equal that
// are not, such as one with the Kelvin sign for a k.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
