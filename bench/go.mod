module github.com/wshub-go/wshub/bench

go 1.26.0

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0
	github.com/gorilla/websocket v1.5.3
	github.com/wshub-go/wshub v0.0.0
	golang.org/x/sys v0.49.0
)

replace github.com/wshub-go/wshub => ../
