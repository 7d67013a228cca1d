//go:build !unix

package natsbus

import "time"

// cpu is not known here.
func cpu() time.Duration { return 0 }
