# `make help` lists what there is. Two are enough to begin with: `make run` and `make test`.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# What --version says. Empty, outside of version control: what the go command knows.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
# Static: without cgo, names and users are looked up in Go.
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-X kv/cmd/internal/version.linked=$(VERSION)'

# Where the programs go.
BIN ?= bin

# The modules beside the project's own: they are checked too, but nobody who uses the project inherits them.
NESTED := .ci/tools .ci/deploy store/peers netserver/resp/clienttest netserver/rest/conformance

BENCH ?= .
FUZZTIME ?= 5m
SOAKTIMEOUT ?= 6h

# Where `make release` puts things, for which systems and processors (empty: for all), and the time of all files.
DIST ?= dist
PLATFORMS ?=
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# Where `make install` puts things: below PREFIX, and that below DESTDIR, for packages.
PREFIX ?= /usr/local
DESTDIR ?=
INTO = $(DESTDIR)$(PREFIX)
MAN_DIR := share/man/man1
BASH_DIR := share/bash-completion/completions
ZSH_DIR := share/zsh/site-functions
FISH_DIR := share/fish/vendor_completions.d

.PHONY: help build run test lint realinput hosting clients test-clients release bench bench-cluster bench-peers bench-resp valkey-suite fuzz soak install uninstall clean tools

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

build: ## the server bin/kvd and the client bin/kvc
	@$(BUILD) -o $(BIN)/ ./cmd/...

run: build ## an empty store on a free port, and the shell on it; it ends with the shell
	@.ci/play

test: build lint realinput hosting clients ## all that must hold before a change goes in
	@FAULTS=if-possible timeout 300 .ci/faults
	@export TEST_GROUPS=$$(.ci/groups); go test -race -timeout 12m -json ./... | bin/testsum

lint: tools # what needs no run: format, tidy modules, vet, staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt-ed:" $$unformatted >&2; exit 1; fi
	@for m in . $(NESTED); do \
		if ! diff=$$(go -C $$m mod tidy -diff 2>bin/tidy.log); then \
			if [ -n "$$diff" ]; then echo "$$m: go mod tidy would change this:" >&2; echo "$$diff" >&2; exit 1; fi; \
			echo "$$m: can't tell whether it is tidy: $$(tail -n 1 bin/tidy.log)" >&2; \
		fi; \
		go -C $$m vet ./...; (cd $$m && $(CURDIR)/bin/staticcheck ./...); \
	done
	@for system in darwin freebsd; do GOOS=$$system CGO_ENABLED=0 go build ./...; done # that it compiles there, too
	@GOOS=windows CGO_ENABLED=0 go build ./protocol/... ./repl/... ./cmd/kvc

realinput: build tools # the Go distribution's own sources through kvc and back
	@.ci/realinput

clients: build # what others wrote: clients of Redis, a validator of OpenAPI
	@go -C netserver/resp/clienttest test -count=1 ./...
	@go -C netserver/rest/conformance test -count=1 ./...

hosting: build ## Dockerfile and docs/deploy: linted by those who take such files, kvd started as they would
	@HOSTING=if-possible go -C .ci/deploy test -count=1 -vet=off ./... # its files are beside the module, where the go command does not look for changes
	@HOSTING=if-possible timeout 300 .ci/hosting

bench: ## the project's benchmarks, then the maps that the store is measured against; BENCH=regexp
	@go test -run '^$$' -bench '$(BENCH)' -benchmem ./...
	@go -C store/peers test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 0 -cpu 1,2 .

bench-cluster: build ## three nodes beside etcd and Redis with replicas, failures too; .ci/bench-cluster says what it needs
	@.ci/bench-cluster

bench-peers: build tools ## kvd beside Redis and memcached over TCP; docs/benchmarks.md says what it needs
	@.ci/bench-peers

valkey-suite: build ## Valkey 9's own tests of strings and keys against kvd; VALKEY=folder of its source
	@.ci/valkey-suite

fuzz: ## every fuzz target, each for FUZZTIME
	@FUZZTIME=$(FUZZTIME) .ci/fuzz

soak: build ## the fault recipes at full length: hours; .ci/faults needs strace
	@.ci/faults
	@KV_SOAK=1 go test -count=1 -timeout $(SOAKTIMEOUT) ./...

install: build ## programs, man pages and completions below PREFIX (/usr/local); DESTDIR for packages
	@install -d $(addprefix "$(INTO)"/,bin $(MAN_DIR) $(BASH_DIR) $(ZSH_DIR) $(FISH_DIR))
	@install -m 755 $(BIN)/kvc $(BIN)/kvd "$(INTO)"/bin
	@umask 022; for p in kvc kvd; do \
		$(BIN)/$$p man "$(INTO)"/$(MAN_DIR); \
		$(BIN)/$$p completion bash >"$(INTO)"/$(BASH_DIR)/$$p; \
		$(BIN)/$$p completion zsh >"$(INTO)"/$(ZSH_DIR)/_$$p; \
		$(BIN)/$$p completion fish >"$(INTO)"/$(FISH_DIR)/$$p.fish; \
	done

bench-resp: build ## kvd beside servers that speak RESP, by redis-benchmark, over TCP and Unix sockets; .ci/bench-resp says what it needs
	@.ci/bench-resp

test-clients: build ## clients that others wrote, in other languages, each telling a story; installs what it may
	@.ci/clients/run

release: ## archives of both programs for each system, with checksums and lists of what is in them, in DIST; PLATFORMS
	@go -C .ci/tools build -o $(CURDIR)/bin/ ./release
	@bin/release -version '$(VERSION)' -epoch '$(SOURCE_DATE_EPOCH)' $(if $(PLATFORMS),-platforms '$(PLATFORMS)') '$(DIST)'

uninstall: ## remove what `make install` with the same PREFIX and DESTDIR has put there
	@cd "$(INTO)"; for p in kvc kvd; do \
		rm -f bin/$$p $(MAN_DIR)/$$p.1 $(MAN_DIR)/$$p-*.1 $(BASH_DIR)/$$p $(ZSH_DIR)/_$$p $(FISH_DIR)/$$p.fish; \
	done

clean: ## remove what was built
	@rm -rf bin dist

tools: # what the checks are made with, pinned in .ci/tools
	@go -C .ci/tools build -o $(CURDIR)/bin/ ./... honnef.co/go/tools/cmd/staticcheck
