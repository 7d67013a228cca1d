// Package e2e drives the examples as built programs, with real clients: gorilla/websocket and a headless Chromium.
//
// It is a module of its own, so that these clients stay out of the library's go.mod. Without a Chromium the browser's
// tests are skipped, unless CI=true is set: there they fail.
package e2e
