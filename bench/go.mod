module github.com/wshub-go/wshub/bench

go 1.26.0

require golang.org/x/sys v0.49.0

replace github.com/wshub-go/wshub => ../
