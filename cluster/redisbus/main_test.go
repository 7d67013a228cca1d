package redisbus

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wshub-go/wshub/internal/leak"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{}) // go-redis says on stderr what its errors say
	leak.Main(m)
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
