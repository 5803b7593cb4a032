# All of it is in deploy/local.py, which needs Python 3.11 and nothing else; PYTHON=... chooses one.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
LOCAL = @test -n "$(PYTHON)" || { echo "Mercer needs Python 3.11 or newer on the PATH, or PYTHON=/path/to/it." >&2; exit 1; }; \
	exec $(PYTHON) -m deploy.local

# By the environment, so that quotes in an expression survive the shell.
export T K ARGS

.DEFAULT_GOAL := help
.PHONY: help up servers test unit cov lint clean reset env

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

up: ## start everything and print its URL and login; Ctrl-C stops it (MERCER_PORT, MERCER_HOME)
	$(LOCAL) up

servers: ## start only Postgres and RabbitMQ, and print their URLs as export lines
	$(LOCAL) servers

test: ## everything in a throw-away place; a part of it: T=path K=expression ARGS=-x, T=tests/conformance
	$(LOCAL) test --path="$$T" --expr="$$K" --args="$$ARGS"

unit: ## the tests that need no server, in seconds; T, K and ARGS as above
	$(LOCAL) unit --path="$$T" --expr="$$K" --args="$$ARGS"

cov: ## the tests again, and which branches of the code they take
	$(LOCAL) cov --path="$$T" --expr="$$K" --args="$$ARGS"

lint: ## ruff, mypy and the import contracts
	$(LOCAL) lint

clean: ## remove caches and what killed test runs left behind; no data
	$(LOCAL) clean

reset: ## delete the data of `make up`
	$(LOCAL) reset

env: ## print fresh secrets for docker-compose.yml: make -s env > .env
	$(LOCAL) env
