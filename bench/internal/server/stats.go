package server

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/wshub-go/wshub/bench/internal/contender"
	"github.com/wshub-go/wshub/bench/internal/proto"
)

func stats(hub contender.Hub, of proto.StatsOf) (proto.Stats, error) {
	if of.GC {
		runtime.GC()
		runtime.GC()
		debug.FreeOSMemory()
	}
	memory := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(memory)
	cpu, rss, err := usage()
	if err != nil {
		return proto.Stats{}, err
	}
	return proto.Stats{
		Clients:    hub.Clients(),
		Joins:      hub.Joins(),
		CPU:        cpu,
		Heap:       memory[0].Value.Uint64() + memory[1].Value.Uint64(),
		Stack:      memory[2].Value.Uint64(),
		RSS:        rss,
		Goroutines: runtime.NumGoroutine(),
		Echoed:     hub.Echoed(),
	}, nil
}
