package wshub_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Tokens that expire. A session is told a minute before, and stays if its client sends another token.

func tokenIssue(key ed25519.PrivateKey, user string, ttl time.Duration) string {
	payload, _ := json.Marshal(wshub.Identity{User: user, Expires: time.Now().Add(ttl)})
	return base64.RawURLEncoding.EncodeToString(append(ed25519.Sign(key, payload), payload...))
}

func tokenVerify(key ed25519.PublicKey, token string) (ident wshub.Identity, err error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if n := ed25519.SignatureSize; err != nil || len(b) < n || !ed25519.Verify(key, b[n:], b[:n]) {
		return ident, wshub.ErrUnauthorized
	}
	return ident, json.Unmarshal(b[ed25519.SignatureSize:], &ident)
}

func tokenSession(key ed25519.PublicKey) wshub.SessionFunc {
	return func(ctx context.Context, s *wshub.Session) error {
		for warn := time.After(time.Until(s.Identity().Expires) - time.Minute); ; {
			select {
			case <-warn:
				s.Send(ctx, wshub.Text("renew"))
			case m, ok := <-s.Messages():
				ident, err := tokenVerify(key, m.Text())
				if !ok || err != nil || ident.User != s.User() {
					return wshub.ErrUnauthorized // which says nothing to a client that has gone
				}
				if err := s.Renew(ctx, ident); err != nil {
					return err
				}
				warn = time.After(time.Until(ident.Expires) - time.Minute)
			}
		}
	}
}

func TestProgramToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		public, private, _ := ed25519.GenerateKey(nil)
		_, forged, _ := ed25519.GenerateKey(nil)
		hub, _ := wshub.New(wshub.Authenticate(func(r *http.Request) (wshub.Identity, error) {
			return tokenVerify(public, r.FormValue("token"))
		}))
		defer hub.Close()
		server, start := hub.Handler(tokenSession(public)), time.Now()
		dial := func(user string) *wshubtest.Client {
			path := wshubtest.WithPath("/?token=" + tokenIssue(private, user, 10*time.Minute))
			return wshubtest.Dial(t, server, path, wshubtest.WithTimeout(time.Hour))
		}
		ann, bob, eve := dial("ann"), dial("bob"), dial("eve")
		ann.ExpectText("renew")
		ann.SendText(tokenIssue(private, "ann", 10*time.Minute))
		eve.SendText(tokenIssue(forged, "eve", 10*time.Minute))
		eve.ExpectClose(1008)
		if reason := bob.ExpectClose(1008); reason != "identity expired" || time.Since(start) != 10*time.Minute {
			t.Errorf("closed with %q after %v", reason, time.Since(start))
		}
		if ann.ExpectText("renew"); time.Since(start) != 18*time.Minute {
			t.Errorf("asked again after %v", time.Since(start))
		}
	})
}
