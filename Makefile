# Switchyard's tasks. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# What is slow to get is kept in one directory, and nowhere else.
SWITCHYARD_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/switchyard
override SWITCHYARD_CACHE := $(abspath $(SWITCHYARD_CACHE))
export SWITCHYARD_CACHE

# Pins. Consul's and staticcheck's are in e2e/tools/consul/go.mod and e2e/tools/go.mod.
CONSUL_VERSION := 1.19.2
MYSQL_VERSION := 9.7
MYSQL_SUITE := sid
MYSQL56_VERSION := 5.6.24

# Empty means debootstrap's own choice of mirror.
DEBIAN_MIRROR ?=

# MySQL 5.6 is tested where MYSQL56_DIR names it; an archive that is found is unpacked there.
MYSQL56_ARCHIVE ?= $(wildcard ../shared/servers/mysql-$(MYSQL56_VERSION)-linux-x64.tar.xz)
MYSQL56_CACHED := $(SWITCHYARD_CACHE)/mysql-$(MYSQL56_VERSION)
ifneq ($(or $(MYSQL56_ARCHIVE),$(wildcard $(MYSQL56_CACHED)/mysqld)),)
MYSQL56_DIR ?= $(MYSQL56_CACHED)
endif
ifdef MYSQL56_DIR
export MYSQL56_DIR
endif

# The demo: make demo FLAVOR=mysql FAULT=freeze ARGS="--semi-sync --keep".
FLAVOR ?= mariadb
FAULT ?= crash
ARGS ?=
# The simulator: make sim SEEDS=50000 SEED=1.
SEEDS ?= 10000
SEED ?= 1
# The controllers under faults: make raft RAFT_TIME=30m RAFT_SEED=7 (0 is the clock's; each is printed).
RAFT_TIME ?= 30m
RAFT_SEED ?= 0
# The benchmark: make bench RUNS=3 PROXIES=20 FIGURES=out.json.
RUNS ?= 10
# The crashes of each flavor: make salvage CRASHES=20.
CRASHES ?= 10
PROXIES ?= 1
FIGURES ?= figures.json
# The matrix of the routing: make matrix CELLS='cells/mysql.*freeze' FIGURES=out.json.
CELLS ?= .

TAGS := servers
STATICCHECK := $(SWITCHYARD_CACHE)/tools/staticcheck
# Packages with tests that need servers; what needs none runs untagged, once.
SERVER_TESTS = $$(grep -rlE --include='*_test.go' '^//go:build .*\b$(TAGS)\b' . | xargs -n1 dirname | sort -u)
# HAProxy and the database servers are in sbin, which is not in every user's PATH.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.PHONY: help build test quick e2e netns matrix sim raft salvage lint fmt deps deps-system deps-net deps-consul deps-mysql deps-mysql56 demo bench together clean

help: ## List the tasks
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-14s %s\n", $$1, $$2 }'

build: ## Build bin/switchyard
	@mkdir -p bin
	go build -o bin/switchyard .

test: deps ## Everything: unit tests, then the tests on real servers (installs what is missing)
	go test ./...
	@# One package after the other: the servers of two would share the processors, and the clock would judge.
	go test -tags $(TAGS) -count=1 -p 1 -timeout 60m $(SERVER_TESTS)

quick: ## Unit tests only: no server, no root, seconds
	go test ./...

e2e: deps ## The end-to-end tests only
	go test -tags $(TAGS) -count=1 -p 1 -timeout 60m ./e2e/...

netns: deps ## The fence and three datacenters in cut networks, all of it (root, half an hour)
	go test -tags $(TAGS),netns -count=1 -timeout 120m -run 'CutOff|ControllersLose|Fence|Datacenter' ./e2e/scenarios

matrix: deps ## The routing from end to end, every flavor, mode, fault and story (most of an hour), into FIGURES (JSON)
	go test -tags $(TAGS),matrix -count=1 -timeout 100m -v -run '^TestMatrix$$/$(CELLS)' ./e2e/matrix -args "$(abspath $(FIGURES))"

sim: ## The seeded simulator, SEEDS worlds from seed SEED on (some minutes)
	go test ./controller/sim -count=1 -timeout 60m -run 'TestSeeds' -v -args -seed=$(SEED) -seeds=$(SEEDS)

raft: deps-system ## The controllers under faults, real processes, for RAFT_TIME from seed RAFT_SEED on (root)
	go test -tags $(TAGS) -count=1 -timeout 90m -v -run '^TestControllersUnderFaults$$' ./e2e/quorum -args -for=$(RAFT_TIME) -seed=$(RAFT_SEED)

# Each is a site of its own; the first of each flavor is in `make test` too.
salvage: deps ## CRASHES crashes of each flavor under a write load: the binary log's tail is taken, nothing acknowledged is lost
	SALVAGE_CRASHES=$(CRASHES) go test -tags $(TAGS) -count=1 -p 1 -timeout 60m -v -run '^TestSalvage$$' ./e2e/scenarios

lint: $(STATICCHECK) ## gofmt, go vet and staticcheck, with and without tags, and the floors
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './bin/*')); \
	if [ -n "$$unformatted" ]; then echo "not gofmt'd (make fmt):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags $(TAGS) ./...
	go vet -tags $(TAGS),netns,matrix ./...
	$(STATICCHECK) ./...
	$(STATICCHECK) -tags $(TAGS),netns,matrix ./...
	go test ./e2e/house

fmt: ## Format the Go sources
	gofmt -w $$(find . -name '*.go' -not -path './bin/*')

$(STATICCHECK): e2e/tools/go.mod e2e/tools/go.sum
	@mkdir -p $(@D)
	go -C e2e/tools build -o $@ honnef.co/go/tools/cmd/staticcheck
	@touch $@

deps: deps-system deps-net deps-consul deps-mysql deps-mysql56 ## Install whatever the tests need and is missing

# A package that is installed must not start a server of its own; policy-rc.d is Debian's switch for that.
deps-system: ## MariaDB, HAProxy, OpenSSL and a C compiler, by apt
	@missing=""; \
	command -v mariadbd >/dev/null || missing="$$missing mariadb-server"; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	command -v haproxy >/dev/null || missing="$$missing haproxy"; \
	command -v gcc >/dev/null || missing="$$missing gcc libc6-dev"; \
	[ -z "$$missing" ] && exit 0; \
	if ! command -v apt-get >/dev/null; then \
		echo "Missing:$$missing (Debian's names). Install them with this system's package manager." >&2; exit 1; fi; \
	if [ "$$(id -u)" != 0 ]; then \
		echo "Missing:$$missing. Run as root: apt-get install --no-install-recommends$$missing" >&2; exit 1; fi; \
	if [ ! -e /usr/sbin/policy-rc.d ]; then \
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; \
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT; fi; \
	apt-get update; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing

deps-net: ## iproute2, iptables and TUN devices, by which tests make networks and cut them (root)
	@[ -c /dev/net/tun ] || { mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200; } || \
		{ echo "Missing: /dev/net/tun. Run as root: mkdir -p /dev/net && mknod /dev/net/tun c 10 200" >&2; exit 1; }
	@missing=""; \
	command -v ip >/dev/null || missing="$$missing iproute2"; \
	command -v iptables-restore >/dev/null || missing="$$missing iptables"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "Missing:$$missing. Run as root: apt-get install$$missing" >&2; exit 1; fi; \
	apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing

deps-consul: ## Consul, built from its Go module into the cache (some minutes, once)
	@if "$(SWITCHYARD_CACHE)/consul" version 2>/dev/null | grep -qx 'Consul v$(CONSUL_VERSION)'; then exit 0; fi; \
	echo "building Consul $(CONSUL_VERSION) into $(SWITCHYARD_CACHE) (some minutes, once)"; \
	mkdir -p "$(SWITCHYARD_CACHE)"; \
	CGO_ENABLED=0 go -C e2e/tools/consul build -trimpath -o "$(SWITCHYARD_CACHE)/consul.new" github.com/hashicorp/consul; \
	"$(SWITCHYARD_CACHE)/consul.new" version | grep -x 'Consul v$(CONSUL_VERSION)'; \
	mv "$(SWITCHYARD_CACHE)/consul.new" "$(SWITCHYARD_CACHE)/consul"

# Only Debian's unstable suite has this MySQL. It is unpacked beside the system, never into it.
deps-mysql: ## Oracle MySQL 9.7, a Debian root in the cache (needs root, once)
	@root="$(SWITCHYARD_CACHE)/sid"; \
	[ -x "$$root/usr/sbin/mysqld" ] && exit 0; \
	if [ "$$(id -u)" != 0 ]; then \
		echo "Missing: MySQL $(MYSQL_VERSION). Run once as root: make deps-mysql SWITCHYARD_CACHE=$(SWITCHYARD_CACHE)" >&2; exit 1; fi; \
	if ! command -v debootstrap >/dev/null; then \
		if ! command -v apt-get >/dev/null; then \
			echo "Missing: debootstrap. Install it with this system's package manager." >&2; exit 1; fi; \
		apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap; fi; \
	echo "unpacking MySQL $(MYSQL_VERSION) into $$root (about a minute, once)"; \
	mkdir -p "$(SWITCHYARD_CACHE)"; rm -rf "$$root.new"; \
	debootstrap --variant=minbase --include=mysql-server-core,mysql-client-core \
		$(MYSQL_SUITE) "$$root.new" $(DEBIAN_MIRROR) >"$$root.log" 2>&1 || { tail -20 "$$root.log" >&2; exit 1; }; \
	chroot "$$root.new" /usr/sbin/mysqld --version | grep -F ' $(MYSQL_VERSION).' || { \
		echo "$(MYSQL_SUITE) has another MySQL by now: set MYSQL_VERSION and MYSQL_SUITE in the Makefile" >&2; exit 1; }; \
	mkdir -p "$$root.new/var/lib/mysql-files"; chmod 755 "$$root.new"; rm -f "$$root.log"; mv "$$root.new" "$$root"

deps-mysql56: ## MySQL 5.6, unpacked from MYSQL56_ARCHIVE, where there is one
	@if [ -n "$${MYSQL56_DIR:-}" ] && [ -x "$$MYSQL56_DIR/mysqld" ]; then exit 0; fi; \
	if [ -z "$(MYSQL56_ARCHIVE)" ]; then \
		echo "MySQL 5.6 is not tested here: no archive (name one with MYSQL56_ARCHIVE=FILE, or the unpacked directory with MYSQL56_DIR)"; \
		exit 0; fi; \
	if ! command -v xz >/dev/null; then \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo "Missing: xz. Run as root: apt-get install xz-utils" >&2; exit 1; fi; \
		apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends xz-utils; fi; \
	echo "unpacking $(MYSQL56_ARCHIVE)"; \
	rm -rf "$(MYSQL56_CACHED).new"; mkdir -p "$(MYSQL56_CACHED).new"; \
	tar -xf "$(MYSQL56_ARCHIVE)" -C "$(MYSQL56_CACHED).new"; \
	inner=$$(find "$(MYSQL56_CACHED).new" -name mysqld -type f -printf '%h\n' | head -1); \
	if [ -z "$$inner" ]; then echo "$(MYSQL56_ARCHIVE) has no mysqld in it" >&2; exit 1; fi; \
	chmod -R u+rwX "$(MYSQL56_CACHED).new"; rm -rf "$(MYSQL56_CACHED)"; mv "$$inner" "$(MYSQL56_CACHED)"; \
	rm -rf "$(MYSQL56_CACHED).new"

demo: deps-system deps-consul $(if $(filter mysql,$(FLAVOR)),deps-mysql) build ## Fail over real servers and watch: FLAVOR=mariadb|mysql FAULT=crash|freeze|switchover ARGS=...
	./bin/switchyard demo --flavor $(FLAVOR) --fault $(FAULT) $(ARGS)

bench: deps-system deps-consul deps-mysql build ## Measure outages, RUNS of each flavor and fault, into FIGURES (JSON)
	go run ./e2e/figures --binary ./bin/switchyard --runs $(RUNS) --proxies $(PROXIES) --out $(FIGURES)

# Smaller in `make test`: once for each.
together: deps ## Crash masters together with leader, datacenter or Consul, RUNS times each, and measure elections, into FIGURES (JSON)
	go test -tags $(TAGS) -count=1 -timeout 240m -v -run '^TestTogether$$' ./e2e/together -args -runs=$(RUNS) -changes=20 -figures="$(abspath $(FIGURES))"

clean: ## Remove what was built here (not the cache)
	rm -rf bin $(FIGURES)
