//go:build !unix

package redisbus

import "time"

// processor is not known here.
func processor() time.Duration { return 0 }
