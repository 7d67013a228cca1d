# Every target works on every module of the repository; nothing here needs a go.work.
# Tools are pinned here and never appear in a go.mod.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
PLATFORMS   = linux/amd64 linux/386 darwin/arm64 windows/amd64
FUZZRUNS    = 30000
MODULES     = $(sort $(patsubst %/go.mod,%,$(shell find . -name go.mod -not -path '*/testdata/*')))

# The modules that the root may require, and the one file that may import the WebSocket library.
ROOT_REQUIRES  = github.com/coder/websocket golang.org/x/sync golang.org/x/time
LIBRARY_IMPORT = ./internal/wire/coder.go

# $(call each,command) runs a command in the directory of every module and stops at the first failure.
each = set -e; for module in $(MODULES); do echo "== $$module: $(strip $(1))"; (cd $$module && $(1)); done

.DEFAULT_GOAL := help
.PHONY: help ci test fmt vet lint tidy deps cross fuzz bench

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

ci: fmt tidy deps vet lint cross test fuzz bench ## Everything that .ci/run checks.

# -count=1: the tests of e2e run programs whose changes the test cache does not see. The race detector allocates, and makes
# everything ten times slower: what asserts allocations, or the default grace, runs once more without it.
test: ## All tests of all modules, with the race detector.
	@$(call each,go test -race -count=1 ./...)
	go test -count=1 ./...

fmt: ## Fail if a file is not formatted.
	@files=$$(gofmt -l -s .); if [ -n "$$files" ]; then echo "not formatted (gofmt -s -w):"; echo "$$files"; exit 1; fi

vet: ## go vet.
	@$(call each,go vet ./...)

lint: ## Pinned staticcheck.
	@$(call each,go run $(STATICCHECK) ./...)

tidy: ## Fail if a go.mod or go.sum is not tidy.
	@$(call each,go mod tidy -diff)

deps: ## Fail if the root requires, links or imports what it must not.
	@got=$$(go list -m -f '{{if not .Main}}{{.Path}}{{end}}' all | sort | xargs); \
	if [ "$$got" != "$(ROOT_REQUIRES)" ]; then echo "the root requires: $$got"; echo "it may require:    $(ROOT_REQUIRES)"; exit 1; fi
	@linked=$$(go list -deps . | grep -E '^(testing|net/http/httptest|.*/wshubtest|.*/internal/leak|.*/internal/hubtest)(/|$$)' || true); \
	if [ -n "$$linked" ]; then echo "test packages linked into the library:"; echo "$$linked"; exit 1; fi
	@importers=$$(go list -f '{{$$d := .Dir}}{{range .GoFiles}}{{$$d}}/{{.}} {{end}}{{range .TestGoFiles}}{{$$d}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$$d}}/{{.}} {{end}}' ./... \
		| xargs grep -l '"github.com/coder/websocket' | sed "s|^$(CURDIR)/|./|" | xargs); \
	if [ "$$importers" != "$(LIBRARY_IMPORT)" ]; then echo "coder/websocket is imported by: $$importers"; echo "only $(LIBRARY_IMPORT) may"; exit 1; fi
	@echo "== deps: the root requires $(ROOT_REQUIRES)"

cross: ## Build and vet every module for every platform.
	@set -e; for platform in $(PLATFORMS); do for module in $(MODULES); do \
		echo "== $$module: build and vet for $$platform"; \
		(cd $$module && export GOOS=$${platform%/*} GOARCH=$${platform#*/} CGO_ENABLED=0 && go build -o /dev/null ./... && go vet ./...); \
	done; done

# A count, not a time: fuzzing that ends by the clock fails at times with "context deadline exceeded" (go.dev/issue/75804).
fuzz: ## Each fuzz target FUZZRUNS times.
	@set -e; for module in $(MODULES); do \
		packages=$$(cd $$module && go list ./...); \
		for package in $$packages; do \
			listed=$$(cd $$module && go test -list '^Fuzz' $$package); \
			for target in $$(echo "$$listed" | grep '^Fuzz'); do \
				echo "== $$module: $$target, $(FUZZRUNS) times"; \
				(cd $$module && go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZRUNS)x $$package); \
			done; \
		done; \
	done

bench: ## Each benchmark once, to see that it runs.
	@$(call each,go test -run '^$$' -bench . -benchtime 1x ./...)
