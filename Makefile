PYTHON ?= python3
VENV := .venv/.installed
DEV := .venv/.dev-installed
CDK := node_modules/.installed
BROWSER := tests/node_modules/.installed
OFFICIAL_CLIENT := .venv-official-client/.installed
# Some images of Docker set it: each of the processes that a test starts would then compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile | expand -t 24

install: node $(DEV) $(CDK) $(BROWSER) ## Install everything that the other targets and ./freshness need.

run: node ## Run the whole stack with a local AWS and a Codat sandbox until Ctrl-C.
	@$(MAKE) --no-print-directory --question $(VENV) $(CDK) || \
		local/progress.sh 'Installing the Python packages and the CDK, 380 MB' $(MAKE) --jobs 2 $(VENV) $(CDK)
	@PYTHONPATH=functions .venv/bin/python -m local.run

redrive: $(VENV) ## Apply the webhooks in the dead-letter queue again: ./freshness redrive.
	@./freshness redrive

register-webhook: $(VENV) ## Register the stack's webhook at Codat: ./freshness register-webhook.
	@./freshness register-webhook

test: node $(DEV) $(CDK) $(BROWSER) $(OFFICIAL_CLIENT) ## Run all tests, including a deployment to a local AWS.
	@.venv/bin/pytest --numprocesses 3  # one mostly waits for what is deployed

bench: node $(DEV) ## Run the benchmarks and write bench/results.md and details.md; ARGS="planner year" runs only these.
	@.venv/bin/python -m bench $(ARGS)

chaos: $(DEV) ## Run many random histories with faults and every kill point, and write chaos/results.md.
	@PYTHONPATH=functions:codat-sandbox .venv/bin/python -m chaos $(ARGS)

simulate: $(DEV) ## Simulate freshness.toml for a fleet of companies; ARGS='--help' lists the options.
	@PYTHONPATH=functions:codat-sandbox .venv/bin/python -m simulate $(ARGS)

check: $(DEV) ## Check style, types and layers, and run the pure tests, in about a minute.
	@$(MAKE) --no-print-directory --jobs 2 lint types unit

unit: $(DEV) ## Run the pure tests.
	@.venv/bin/pytest --numprocesses 2 --quiet tests/unit

lint: $(DEV) ## Check the code style and format.
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@PYTHONPATH=functions:. .venv/bin/lint-imports --no-cache
	@cd codat-sandbox && ../.venv/bin/lint-imports --no-cache

types: $(DEV) ## Check the types.
	@.venv/bin/mypy

docs: $(VENV) ## Write what of docs/ follows from the code: the reference of the policy, and the schemas of events.
	@./freshness policy reference > docs/.policy.md && mv docs/.policy.md docs/policy.md
	@PYTHONPATH=functions:. .venv/bin/python -m infra.event_schemas

clean: ## Delete everything that these targets install or build.
	rm -rf .venv .venv-official-client node_modules tests/node_modules .local .build cdk.out .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Python compiles modules when they are first imported; compiling all of them takes longer than downloading them.
PIP := .venv/bin/pip install --disable-pip-version-check --no-compile --require-hashes -r

$(VENV): requirements.lock | .venv/bin/pip
	@local/progress.sh 'Installing the Python packages, 350 MB' $(PIP) $<
	@touch $@

$(DEV): requirements-dev.lock | .venv/bin/pip
	@local/progress.sh 'Installing the Python packages for developers, 850 MB' $(PIP) $<
	@touch $@ $(VENV)

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo 'Python 3.11 or newer is needed: install it, or add PYTHON=/path/to/python3 to the command.' >&2; exit 1; }
	@local/progress.sh 'Creating the virtual environment' $(PYTHON) -m venv .venv

$(CDK): package.json package-lock.json
	@local/progress.sh 'Installing the CDK, 30 MB' npm ci --no-audit --no-fund
	@touch $@

$(BROWSER): tests/package.json tests/package-lock.json
	@local/progress.sh 'Installing a browser and a second Codat for the tests, 370 MB' npm ci --prefix tests --no-audit --no-fund
	@touch $@

# Codat's own client, which drives the sandbox: what it needs must not decide what this project uses.
$(OFFICIAL_CLIENT): tests/sandbox/official_client.lock
	@local/progress.sh "Installing Codat's client" sh -c '$(PYTHON) -m venv .venv-official-client && \
		.venv-official-client/bin/pip install --disable-pip-version-check --no-compile --require-hashes -r $<'
	@touch $@

# Checked first on every run: an installed CDK needs Node.js too.
node:
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null || { \
		echo 'Node.js 20 or newer is needed for the AWS CDK: install it from https://nodejs.org and run this again.' >&2; exit 1; }
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 22 ? 1 : 0)' || \
		echo 'warning: Node.js 20 gets no more security fixes, and the AWS CDK will stop supporting it: install 22 or newer.' >&2

.PHONY: help install run redrive register-webhook simulate chaos test bench check unit lint types docs clean node
