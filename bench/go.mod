module github.com/wshub-go/wshub/bench

go 1.26.0

require (
	github.com/wshub-go/wshub v0.0.0
	github.com/wshub-go/wshub/cluster/natsbus v0.0.0
	github.com/wshub-go/wshub/cluster/redisbus v0.0.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/coder/websocket v1.8.15
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/nats-io/nats.go v1.55.0 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/redis/go-redis/v9 v9.23.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace github.com/wshub-go/wshub => ../

replace github.com/wshub-go/wshub/cluster/natsbus => ../cluster/natsbus

replace github.com/wshub-go/wshub/cluster/redisbus => ../cluster/redisbus
