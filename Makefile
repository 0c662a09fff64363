# What a person does with this repository: `make help`. Everything happens in .venv, ROS 2 included.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo demo-planning test lint bench train-nano clean

VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin

# The first Python of the supported versions; override with `make ... PYTHON=/path/to/python`.
PYTHON ?= $(shell for candidate in python3.11 python3.12 python3.10 python3; do \
	$$candidate -c $(SUPPORTED) 2>/dev/null && command -v $$candidate && break; done)
SUPPORTED := 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'

# The virtual environment is the ROS in use. Another one that happens to be sourced would mix its
# libraries and Python packages in, and the mark that the wheels' loader leaves in its children's
# environment must not outlive the library path that it speaks of.
export AMENT_PREFIX_PATH := $(VENV)
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH CMAKE_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# Programs of the package start outside the repository, whose source folder would be imported instead of
# the installed package with its interfaces.

# All that ends up in the installed package. Directories count too: removing a file touches its directory.
SOURCES := CMakeLists.txt package.xml pyproject.toml setup.py \
	$(shell find mirage_ros msg srv action launch config cmake \
		-name __pycache__ -prune -o -print 2>/dev/null)

help: ## this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18
	@echo "The first run installs everything into .venv; later ones start at once."
	@echo "PYTHON=... picks the interpreter (3.10 to 3.12)."

install: $(VENV)/.installed ## the package with its interfaces, and ROS 2, into .venv

demo: $(VENV)/.installed ## world model on a simulated robot, or on a recording: SEQUENCE=DIR; results in demo_out/
	cd "$(VENV)" && $(BIN)/python -m mirage_ros.demo --out "$(CURDIR)/demo_out" \
		$(if $(SEQUENCE),--sequence "$(abspath $(SEQUENCE))") $(ARGS)

demo-planning: $(VENV)/.installed ## a planner that imagines, beside others that do not; table, page and video in planning_out/
	cd "$(VENV)" && $(BIN)/mirage plan-episodes --episodes 10 --video --out "$(CURDIR)/planning_out" $(ARGS)

test: $(VENV)/.installed $(VENV)/.development ## all tests, on the installed package; ARGS="-k name" picks some
	$(BIN)/pytest $(ARGS)

lint: $(VENV)/.development ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.installed ## quality of predicted views: SEQUENCE=DIR or SEQUENCE=sim:SEED; report in bench_out/
	@test -n "$(SEQUENCE)" || { echo "Say on what: make bench SEQUENCE=DIR, or SEQUENCE=sim:0" >&2; exit 2; }
	cd "$(VENV)" && $(BIN)/mirage evaluate "$(if $(filter sim sim:%,$(SEQUENCE)),$(SEQUENCE),$(abspath $(SEQUENCE)))" \
		--out "$(CURDIR)/bench_out" $(ARGS)

train-nano: $(VENV)/.installed ## the small model's weights anew, an hour on two cores; may be interrupted and called again
	cd "$(VENV)" && $(BIN)/mirage train data --config "$(CURDIR)/config/training/nano.yaml" \
		--data "$(CURDIR)/training_out/data"
	cd "$(VENV)" && $(BIN)/mirage train model --config "$(CURDIR)/config/training/nano.yaml" \
		--data "$(CURDIR)/training_out/data" --run "$(CURDIR)/training_out/nano"
	rm -rf mirage_ros/models/nano && mkdir -p mirage_ros/models && cp -r training_out/nano/model mirage_ros/models/nano

clean: ## remove .venv and everything built or written
	rm -rf .venv build dist install log demo_out bench_out planning_out training_out *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.created:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c $(SUPPORTED) 2>/dev/null || { \
		echo "Python 3.10, 3.11 or 3.12 is needed, found: $(or $(PYTHON),none of them)." \
			"Give one as PYTHON=/path/to/python." >&2; exit 1; }
	tools/system_packages.sh "$(PYTHON)"
	"$(PYTHON)" -m venv --clear "$(VENV)"
	@touch $@

$(VENV)/.requirements: requirements/runtime.txt requirements/build.txt $(VENV)/.created
	$(PIP) install -r requirements/build.txt
	@touch $@

$(VENV)/.development: requirements/dev.txt $(VENV)/.requirements
	$(PIP) install -r requirements/dev.txt
	@touch $@

# Compiles incrementally in build/; only what changed is generated and built again.
$(VENV)/.installed: $(SOURCES) $(VENV)/.requirements
	@echo "Building the interfaces and installing mirage_ros (half a minute the first time) ..."
	$(PIP) install --no-deps --no-build-isolation .
	@touch $@
