// Package wshubtest is a WebSocket client for tests of handlers.
//
// [Dial] talks to an [http.Handler] through memory: no listener, no port, no kernel buffer. It works inside a
// [testing/synctest] bubble, where every wait of the client and of the handler is in fake time, and ends with the test:
//
//	synctest.Test(t, func(t *testing.T) {
//		c := wshubtest.Dial(t, handler, wshubtest.WithPath("/ws?room=go"))
//		c.SendJSON(map[string]string{"text": "hi"})
//		c.ExpectText("welcome")
//		c.Close(1000, "")
//	})
//
// [Server] serves a handler on a real socket, and [TCPServer.DialTCP] gives the same [Client] over TCP.
//
// A Client reads on a goroutine of its own, answers pings and close frames by itself, and checks what it is sent as
// RFC 6455 asks of a client: a frame that breaks the protocol ends the connection, and the next Expect fails with the
// reason. [Client.Stall] stops it from taking bytes off the connection, as a client does whose tab sleeps; the
// handler's writes then back up, in memory after the number of bytes given to [WithBuffer].
//
// Methods that return no error end the test with Fatalf when what they want does not happen within the time of
// [WithTimeout]; like Fatalf they belong on the test's own goroutine. On other goroutines use [Client.TrySend],
// [Client.Next] and [Client.Take]. The package does not import wshub: it drives any handler.
package wshubtest
