# TradingFlow Maintenance. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
INVENTORY ?= inventories/local
# Relative paths throughout: the checkout may lie in a path with spaces.
BIN := .venv/bin
export ANSIBLE_CONFIG := ansible.cfg
# Compiled modules halve the start of every program here, whatever the caller's environment says.
export PYTHONDONTWRITEBYTECODE :=

# Without a home that can be written, as a service account may be, Ansible keeps its temporary files here.
ifeq ($(shell mkdir -p "$$HOME/.ansible/tmp" 2>/dev/null && [ -w "$$HOME/.ansible/tmp" ] && echo yes),)
export ANSIBLE_HOME ?= $(CURDIR)/.ansible
endif

.PHONY: help daily weekly monthly drill audit restore migrate rehearse data-update release major soak promote window review hosts-up hosts-down patch cluster-up cluster-down test test-changed lint bench sandbox-up sandbox-down sandbox-status trouble heal build clean setup setup-dev

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

daily: setup ## run the daily maintenance on the embedded sandbox
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/daily.yml $(ARGS)

weekly: setup ## back the sandbox up, prove it restores, tune, configure the monitoring, review the strategies
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/daily.yml --tags backup
	@hosts=$$($(BIN)/python -m sandbox path --hosts)
	if [ -f "$$hosts" ]; then more=(-i "$$hosts"); else more=(); fi
	$(BIN)/ansible-playbook -i $(INVENTORY) "$${more[@]}" playbooks/weekly.yml $(ARGS)

monthly: setup ## back the sandbox up, prove an older recovery point, validate risk models, report what supports compliance and what is missing
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/daily.yml --tags backup
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/monthly.yml $(ARGS)

drill: setup ## back the sandbox up, restore the newest recovery point into a scratch instance, prove it
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/daily.yml --tags backup
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/drill.yml $(ARGS)

audit: setup ## collect the sandbox's last week into a signed bundle that scripts/bundle_verify.py accepts
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/audit.yml $(ARGS)

restore: setup ## put the sandbox's newest recovery point in place (ARGS=--check says what it would do)
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/restore.yml $(ARGS)

migrate: setup ## upgrade the sandbox's database by its pending revisions (ARGS=--check says which, with their SQL)
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/migrate.yml $(ARGS)

rehearse: setup ## carry the pending revisions out on a restored copy of the sandbox's newest recovery point, and measure
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/daily.yml --tags backup
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/rehearse.yml $(ARGS)

data-update: setup ## carry the sandbox's declared change of rows out (ARGS=--check says which, ARGS="-e data_update_action=undo" undoes it)
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/data_update.yml $(ARGS)

release: cluster-up ## release VERSION=v1.2.1 to the sandbox's staging (ARGS="--check --diff" says what it would do, ARGS="-e release_action=undo" undoes it)
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/release.yml -e release_version=$(VERSION) $(ARGS)

major: cluster-up ## a major update of the sandbox's staging to VERSION=v1.2.3: recovery point, restore of it, release, tests (ARGS="--check --diff")
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/major.yml -e @sandbox/cluster/major.yml -e release_version=$(VERSION) $(ARGS)

soak: setup ## count one more tick of the sandbox's soak in staging, and undo what has failed (ARGS="-e release_soak_hours=0.01" shortens it)
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/soak.yml $(ARGS)

promote: setup ## release to the sandbox's production what has soaked in staging, or say why not (ARGS="--check --diff" says what it would do)
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/promote.yml $(ARGS)

window: setup ## may something disruptive be done on the sandbox now, and when next? (ARGS="-e maintenance_window_procedure=restore")
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/window.yml --check $(ARGS)

review: setup ## review the sandbox's strategies: books, returns, drawdowns, correlations, with charts
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/ansible-playbook -i $(INVENTORY) playbooks/weekly.yml --tags review $(ARGS)

hosts-up: setup ## boot three managed hosts of the sandbox: Debian, systemd, sshd (needs root and debootstrap)
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/python -m sandbox hosts-up

hosts-down: setup ## end them and delete what is theirs
	@$(BIN)/python -m sandbox hosts-down

patch: hosts-up ## patch the sandbox's hosts, one after the other (ARGS=--check says what would be done)
	@$(BIN)/ansible-playbook -i $(INVENTORY) -i "$$($(BIN)/python -m sandbox path --hosts)" playbooks/patch.yml $(ARGS)

cluster-up: setup ## start a Kubernetes beside the sandbox, with the application in staging and production (root, Debian; the first time builds it)
	@$(BIN)/python -m sandbox up --newer-than 20
	@$(BIN)/python -m sandbox cluster-up

cluster-down: setup ## end it and delete what is its own
	@$(BIN)/python -m sandbox cluster-down

test: setup-dev ## lint, all tests, sanity, newest ansible-core (REQUIRE_ALL=1: leave nothing out)
	@bash tests/ci/all.sh

test-changed: setup-dev ## the tests that import what differs from the last commit, or from BASE
	@$(BIN)/python -m tests.changed $(BASE)

lint: setup-dev ## ruff, mypy, yamllint, ansible-lint, documentation
	@bash tests/ci/lint.sh

bench: setup-dev ## measure against what a user would run instead, into docs/benchmarks.md (BENCH="health trading backup")
	@$(BIN)/python -m tests.bench

sandbox-up: setup ## start the embedded platform: PostgreSQL, S3, the sample application
	@$(BIN)/python -m sandbox up

sandbox-down: setup ## stop it and delete all of it
	@$(BIN)/python -m sandbox down

sandbox-status: setup ## what is where
	@$(BIN)/python -m sandbox status

trouble: setup ## bring the sandbox into trouble on purpose: NAME=x, without one the list
	@$(BIN)/python -m sandbox trouble $(NAME)

heal: setup ## end all troubles
	@$(BIN)/python -m sandbox heal

build: setup ## build/tradingflow-maintenance-<version>.tar.gz, installable anywhere
	@bash tests/ci/build.sh

clean: ## sandbox, environment, artefacts and build results
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m sandbox down; fi
	@rm -rf .venv .venv.lock .cache .sandbox artifacts build .pytest_cache .mypy_cache .ruff_cache .ansible

# The environment is brought up to the lock when that changes; each is complete only with its stamp.
setup: .venv/sandbox.stamp
setup-dev: .venv/dev.stamp

.venv/sandbox.stamp: requirements/sandbox.lock
	@$(PYTHON) requirements/install.py sandbox

.venv/dev.stamp: requirements/dev.lock .venv/sandbox.stamp
	@$(PYTHON) requirements/install.py dev
