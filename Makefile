PYTHON ?= python3
VENV := .venv/.installed
CDK := node_modules/.installed

help: ## Show these targets.
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile | expand -t 24

install: node $(VENV) $(CDK) ## Install what all of this needs, ./freshness among it.

run: node $(VENV) $(CDK) ## Deploy to a local AWS and keep a Codat sandbox fresh, until Ctrl-C.
	@PYTHONPATH=functions .venv/bin/python -m local.run

redrive: $(VENV) ## Have the webhooks applied that could not be: ./freshness redrive.
	@./freshness redrive

register-webhook: $(VENV) ## Have Codat send its webhooks to the stack: ./freshness register-webhook.
	@./freshness register-webhook

test: node $(VENV) $(CDK) ## Run every test, the deploy to a local AWS among them.
	@.venv/bin/pytest --numprocesses 2

bench: node $(VENV) ## Measure what it costs, against floors and rivals, and write bench/results.md.
	@.venv/bin/python -m bench

simulate: $(VENV) ## Show what freshness.toml would do to a fleet; options as in ARGS='--companies 500 --help'.
	@PYTHONPATH=functions .venv/bin/python -m simulate $(ARGS)

lint: $(VENV) ## Check style and formatting.
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check

types: $(VENV) ## Check types.
	@.venv/bin/mypy

clean: ## Remove all that these targets install and build.
	rm -rf .venv node_modules .local .build cdk.out .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV): requirements.txt requirements-dev.txt functions/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo 'Python 3.11 or newer is needed: install it, or name it with "make $(MAKECMDGOALS) PYTHON=/path/to/python3".' >&2; exit 1; }
	@local/progress.sh 'Creating the virtual environment' $(PYTHON) -m venv .venv
	@local/progress.sh 'Installing the Python packages' .venv/bin/pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(CDK): package.json package-lock.json
	@local/progress.sh 'Installing the CDK command line' npm ci --no-audit --no-fund
	@touch $@

# Looked for each time, and first: an installed CDK does not run without it either.
node:
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null || { \
		echo 'Node.js 20 or newer is needed for the AWS CDK: install it from https://nodejs.org and run this again.' >&2; exit 1; }

.PHONY: help install run redrive register-webhook simulate test bench lint types clean node
