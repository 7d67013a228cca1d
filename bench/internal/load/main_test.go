package load

import (
	"os"
	"testing"

	"github.com/wshub-go/wshub/internal/leak"
)

// asChild makes the test binary a load, for the benchmark.
const asChild = "WSHUB_TEST_LOAD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		if err := Run(os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	leak.Main(m)
}
