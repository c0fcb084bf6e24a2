# Needs python3 (3.11 or newer, with venv) and make; everything else comes into .venv and .cache.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .cache/uv-$(UV_VERSION)/bin/uv
INSTALLED := .venv/.installed
RUN := .venv/bin/python -m

.DEFAULT_GOAL := help
.PHONY: help install demo test check bench chaos eval chaos-broken compose-test screenshots live deploy-test

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## .venv from the lock file

demo: $(INSTALLED) ## everything on this machine, simulated; ARGS=--once ends by itself
	@$(RUN) deploy.local.demo $(ARGS)

live: $(INSTALLED) ## a real number through ngrok, from .env; ARGS=--yes sets Twilio's addresses without asking
	@$(RUN) deploy.live $(ARGS)

test: $(INSTALLED) ## the tests, with their own Postgres and Redis; ARGS="-k word"
	@$(RUN) pytest $(ARGS)

deploy-test: $(INSTALLED) ## deploy.sh against a machine with systemd and sshd of its own; needs root and Debian's packages
	@$(RUN) pytest tests/deploy/vps $(ARGS)

check: $(INSTALLED) ## lint, formatting, types, imports
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/basedpyright
	@.venv/bin/lint-imports

bench: $(INSTALLED) ## how fast, each figure beside its limit (10 minutes); ARGS="--full acknowledge"
	@$(RUN) tests.bench $(ARGS)

chaos: $(INSTALLED) ## kill everything while people write, check the promise; ARGS="--seed 7 --long"
	@$(RUN) tests.chaos $(ARGS)

chaos-broken: $(INSTALLED) ## break one rule at a time in a copy: chaos must notice each (15 minutes)
	@$(RUN) tests.chaos.broken $(ARGS)

eval: $(INSTALLED) ## how often the right one answers, beside the article's algorithm; FILE=labelled.jsonl
	@$(RUN) tests.eval $(FILE)

compose-test: ## build the image and answer a message in containers; needs Docker; ARGS=--production
	@$(PYTHON) -m deploy.local.compose_test $(ARGS)

screenshots: $(INSTALLED) ## docs/phone-*.png anew; needs Debian's chromium, fonts-noto-core, -cjk and -color-emoji
	@$(RUN) tests.browser.screenshots

# SYNC asks for more than what may be there already.
.PHONY: anew
$(INSTALLED): pyproject.toml uv.lock $(if $(SYNC),anew) | $(UV)
	@echo "installing the locked packages into .venv (the first time about a minute) ..."
	@env -u VIRTUAL_ENV UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON_DOWNLOADS=never \
		$(UV) sync --frozen --quiet --compile-bytecode $(SYNC) --python "$$(command -v $(PYTHON))"
	@touch $@

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed and $(PYTHON) is not; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module; install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "fetching uv $(UV_VERSION) into .cache ..."
	@$(PYTHON) -m venv $(@D)/.. && $(@D)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
