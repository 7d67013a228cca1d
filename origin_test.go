package wshub

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func originRequest(host string, overTLS bool, origins ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/ws", nil)
	r.Host = host
	if overTLS {
		r.TLS = new(tls.ConnectionState)
	}
	if len(origins) > 0 {
		r.Header["Origin"] = origins
	}
	return r
}

// Without other rules a page may connect to its own host only, and who is no browser may; host and scheme are folded, and a
// default port is none. Everybody else gets 403.
func TestPitfall15SameOrigin(t *testing.T) {
	tests := []struct {
		name   string
		host   string
		tls    bool
		origin []string
		want   bool
	}{
		{"missing", "good.com", false, nil, true},
		{"same", "good.com", false, []string{"http://good.com"}, true},
		{"same behind a proxy that ends TLS", "good.com", false, []string{"https://good.com"}, true},
		{"same over TLS", "good.com", true, []string{"https://good.com"}, true},
		{"plain page, TLS socket", "good.com", true, []string{"http://good.com"}, false},
		{"folded", "Good.COM", false, []string{"HTTP://gOOd.com"}, true},
		{"same port", "good.com:8080", false, []string{"http://good.com:8080"}, true},
		{"other port", "good.com:8080", false, []string{"http://good.com:8081"}, false},
		{"port only in the origin", "good.com", false, []string{"http://good.com:8080"}, false},
		{"port only in the host", "good.com:8080", false, []string{"http://good.com"}, false},
		{"default port in the host", "good.com:80", false, []string{"http://good.com"}, true},
		{"default port in the origin", "good.com", false, []string{"http://good.com:80"}, true},
		{"default TLS port in the host", "good.com:443", false, []string{"https://good.com"}, true},
		{"default TLS port in the origin", "good.com", true, []string{"https://good.com:443"}, true},
		{"default port of the other scheme", "good.com:443", false, []string{"http://good.com"}, false},
		{"WebSocket scheme", "good.com", true, []string{"wss://good.com"}, true},
		{"IPv4", "127.0.0.1:8080", false, []string{"http://127.0.0.1:8080"}, true},
		{"IPv6", "[::1]:8080", false, []string{"http://[0:0::1]:8080"}, true},
		{"IPv6 with the default port", "[::1]", false, []string{"http://[::1]:80"}, true},
		{"fully qualified", "good.com.", false, []string{"https://good.com."}, true},
		{"fully qualified is another host", "good.com", false, []string{"https://good.com."}, false},

		{"foreign", "good.com", false, []string{"https://evil.com"}, false},
		{"null", "good.com", false, []string{"null"}, false},
		{"null for a host called null", "null", false, []string{"null"}, false},
		{"empty", "good.com", false, []string{""}, false},
		{"empty, and no host", "", false, []string{""}, false},
		{"no host", "", false, []string{"http://"}, false},
		{"suffix-alike", "good.com", false, []string{"https://good.com.evil"}, false},
		{"prefix-alike", "good.com", false, []string{"https://notgood.com"}, false},
		{"subdomain", "good.com", false, []string{"https://www.good.com"}, false},
		{"user info", "good.com", false, []string{"https://good.com@evil.com"}, false},
		{"host as user info", "evil", false, []string{"https://good@evil"}, false},
		{"user info of the host", "good.com", false, []string{"https://evil@good.com"}, false},
		{"password", "good.com", false, []string{"https://a:b@good.com"}, false},
		{"path", "good.com", false, []string{"https://good.com/"}, false},
		{"query", "good.com", false, []string{"https://good.com?evil.com"}, false},
		{"fragment", "good.com", false, []string{"https://good.com#evil.com"}, false},
		{"backslash", "good.com", false, []string{`https://evil.com\good.com`}, false},
		{"space", "good.com", false, []string{"https://good.com "}, false},
		{"escape", "good.com", false, []string{"https://good%2Ecom"}, false},
		{"Kelvin sign", "k.com", false, []string{"https://\u212a.com"}, false},
		{"wildcard of a client", "good.com", false, []string{"*"}, false},
		{"wildcard host of a client", "good.com", false, []string{"https://*.com"}, false},
		{"no scheme", "good.com", false, []string{"good.com"}, false},
		{"no port", "good.com", false, []string{"https://good.com:"}, false},
		{"port 0", "good.com:0", false, []string{"https://good.com:0"}, false},
		{"port too high", "good.com", false, []string{"https://good.com:65979"}, false},
		{"signed port", "good.com", false, []string{"https://good.com:+443"}, false},
		{"other scheme", "good.com", false, []string{"ftp://good.com"}, false},
		{"twice", "good.com", false, []string{"https://good.com", "https://good.com"}, false},
		{"good and evil", "good.com", false, []string{"https://good.com", "https://evil.com"}, false},
		{"list", "good.com", false, []string{"https://good.com https://evil.com"}, false},
		{"bad host", "good.com/evil", false, []string{"https://good.com"}, false},
	}
	handler := newHub(t).Handler(idle)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, originRequest(tt.host, tt.tls, tt.origin...))
			want := http.StatusForbidden
			if tt.want {
				want = http.StatusNotImplemented // which comes next: a recorder is no connection
			}
			if answer.Code != want {
				t.Errorf("Origin %q for Host %q: %d, want %d", tt.origin, tt.host, answer.Code, want)
			}
		})
	}
}

func TestOriginPatterns(t *testing.T) {
	tests := []struct {
		name     string
		patterns string // separated by spaces
		admit    string
		refuse   string
	}{
		{"exact", "https://good.com",
			"https://good.com HTTPS://GOOD.com https://good.com:443 wss://good.com",
			"http://good.com https://good.com:8443 https://www.good.com https://good.com.evil https://evil@good.com https://good@evil.com https://host.test null"},
		{"folded", "HTTPS://GOOD.Com:443", "https://good.com", "https://good.com:444"},
		{"port", "http://localhost:3000", "http://localhost:3000", "http://localhost http://localhost:3001 https://localhost:3000"},
		{"one label", "https://*.good.com",
			"https://www.good.com https://a-b.GOOD.com https://xn--bcher-kva.good.com",
			"https://good.com https://a.b.good.com https://.good.com https://www.good.com.evil https://www.notgood.com https://evil.com/.good.com https://evil@www.good.com https://*.good.com"},
		{"label in the middle", "https://app.*.good.com", "https://app.eu.good.com", "https://app.good.com https://eu.app.good.com https://app.a.b.good.com"},
		{"two labels", "https://*.*.good.com", "https://a.b.good.com", "https://a.good.com https://a.b.c.good.com"},
		{"any single label", "http://*:8080", "http://localhost:8080", "http://a.b:8080 http://localhost. http://[::1]:8080"},
		{"no wildcard for addresses", "http://*.*.*.*", "http://a.b.c.d", "http://10.0.0.1"},
		{"no wildcard for the dot at the end", "http://*.*", "http://a.b", "http://a. http://a.b."},
		{"addresses", "http://127.0.0.1:8080 http://[::1]:8080", "http://127.0.0.1:8080 http://[0::1]:8080", "http://127.0.0.2:8080 http://[::2]:8080"},
		{"other scheme", "chrome-extension://abcdef capacitor://localhost", "chrome-extension://abcdef capacitor://localhost", "https://abcdef chrome-extension://abcdeg capacitor://localhost:80"},
		{"several", "https://a.com https://b.com", "https://a.com https://b.com", "https://c.com"},
		{"any", "*", "https://evil.com http://10.0.0.1:1 null", ""},
		{"any among others", "https://good.com *", "https://evil.com", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := compileOrigins(strings.Fields(tt.patterns))
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range strings.Fields(tt.admit) {
				if !c.allow(originRequest("host.test", true, o)) {
					t.Errorf("%s is refused", o)
				}
			}
			for _, o := range strings.Fields(tt.refuse) {
				if c.allow(originRequest("host.test", true, o)) {
					t.Errorf("%s is admitted", o)
				}
			}
			if !c.allow(originRequest("host.test", true)) {
				t.Error("a request without Origin is refused")
			}
		})
	}
}

func TestOriginPatternErrors(t *testing.T) {
	for _, pattern := range []string{
		"", "good.com", "https://", "://good.com", "https:good.com", "https://good.com/", "https://good.com/path",
		"https://good.com?q", "https://user@good.com", "https://good.com:", "https://good.com:*", "https://good.com:0", "https://good.com:99999",
		"https://good..com", "https://.good.com", "https://www*.good.com", "https://**.good.com", "*://good.com", "*.good.com", "**",
		"https://bücher.de", "https://good.com https://b.com", " https://good.com", "https://[::1", "https://[::1]x", "https://[good.com]",
		"https://[127.0.0.1]", "https://[fe80::1%25eth0]", "https://::1", "1https://good.com", "null",
	} {
		c, err := compileOrigins([]string{"https://ok.com", pattern})
		if err == nil || !strings.HasPrefix(err.Error(), "wshub: origin pattern ") {
			t.Errorf("pattern %q: error is %v", pattern, err)
		}
		if c.any || len(c.patterns) != 0 {
			t.Errorf("pattern %q: the check is %+v", pattern, c)
		}
	}
	if c, err := compileOrigins(nil); err != nil || c.any || len(c.patterns) != 0 {
		t.Errorf("no patterns: %+v, %v", c, err)
	}
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://good.com", "null", "https://a@good.com", "http://[::1]:80", "https://good.com.", "*", "https://*.good.com"} {
		f.Add(s)
	}
	one, err := compileOrigins([]string{"https://*.good.com"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if one.allow(originRequest("host.test", false, s)) {
			host, isHTTPS := strings.CutPrefix(strings.ToLower(s), "https://")
			if !isHTTPS {
				host, isHTTPS = strings.CutPrefix(strings.ToLower(s), "wss://")
			}
			host, _, _ = strings.Cut(host, ":")
			label, ok := strings.CutSuffix(host, ".good.com")
			if !isHTTPS || !ok || label == "" || strings.ContainsAny(label, ".@/?#\\*%: ") {
				t.Fatalf("%q is admitted", s)
			}
		}
		o, err := parseOrigin(s, false)
		if err != nil {
			return
		}
		if strings.ContainsAny(o.host, "@/?#\\*% ") || o.host == "" || o.port < 0 || o.port > 65535 {
			t.Fatalf("%q is read as %+v", s, o)
		}
		if !o.matches(o) {
			t.Fatalf("%q does not match itself", s)
		}
	})
}
