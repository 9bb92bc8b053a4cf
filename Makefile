# Two commands, each with all of its set-up on a Debian machine that has Python (3.11 or later), git and make:
#   make demo   compile, load and run a sample on real packets
#   make test   every test; as root on Linux with BTF nothing is skipped

VENV   ?= .venv
PYTHON ?= python3
JOBS   ?= 2

.PHONY: demo test lint clean

demo: $(VENV)/.demo
	$(VENV)/bin/python samples/protocol_count.py

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest -q -n $(JOBS) --counted $(TESTS)

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/basedpyright  # pyright, with the node that it needs

$(VENV)/.demo: pyproject.toml .ci/setup
	.ci/setup demo $(PYTHON) $(VENV)
	touch $@

$(VENV)/.test: pyproject.toml .ci/setup
	.ci/setup test $(PYTHON) $(VENV)
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
