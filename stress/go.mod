module github.com/wshub-go/wshub/stress

go 1.26.0

require (
	github.com/wshub-go/wshub v0.0.0
	golang.org/x/time v0.16.0
)

require (
	github.com/coder/websocket v1.8.15 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

replace github.com/wshub-go/wshub => ../
