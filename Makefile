# Everything starts here. `make demo` and `make test` set up what they need; see README.md.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
TARGET := $(or $(CARGO_TARGET_DIR),target)
DATA ?= data
LISTEN ?= 127.0.0.1:8000

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## check for (on Debian as root: install) what the build and the tests need
	@scripts/setup

build: setup ## the release binary, target/release/leat
	cargo build --release --locked -p leat

demo: build ## the main job, from an empty folder to rows in a table, in about a minute
	@$(TARGET)/release/leat --version
	@cargo run --quiet --release --locked -p xtask -- demo $(TARGET)/release/leat

serve: build ## a server on LISTEN with its state in DATA
	$(TARGET)/release/leat serve --listen $(LISTEN) --data-dir $(DATA)

test: ## everything that a change must pass
	@scripts/setup test
	cargo fmt --all --check
	cargo run --quiet --locked -p xtask -- tidy
	cargo clippy --workspace --all-targets --locked --features leat/failpoints -- -D warnings
	cargo nextest run --workspace --locked --features leat/failpoints
	cargo deny --locked --log-level error check licenses bans sources

bench: build ## the figures of docs/figures.md
	cargo run --quiet --release --locked -p xtask -- bench $(TARGET)/release/leat

.PHONY: help setup build demo serve test bench
