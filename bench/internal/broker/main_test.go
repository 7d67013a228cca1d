package broker

import (
	"testing"

	"github.com/wshub-go/wshub/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
