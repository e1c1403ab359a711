# Two commands matter: `make demo` shows the package at work, `make test` checks it. Both set up what they need.

VENV ?= .venv
ROS_VENV ?= $(VENV)-ros
OUT ?= demo_output
PYTEST_ARGS ?=
TEST_JOBS ?= auto
export PYTHON PIP_ARGS

STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
ROS_STAMP := $(ROS_VENV)/.installed

.PHONY: help setup demo test test-ros lint check clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## Make .venv with everything in it

# Python files need no reinstall (the install is editable); the list of dependencies does.
$(STAMP): setup.py pyproject.toml constraints.txt tools/setup_environment.sh tools/find_python.sh tools/system_libraries.sh
	@tools/setup_environment.sh $(VENV)
	@touch $@

demo: $(STAMP) ## Simulate a drive, detect, compare with the truth, draw pictures (OUT=demo_output)
	@$(BIN)/monotakd demo --out $(OUT) --overwrite

test: $(STAMP) ## Run the tests, on all cores (PYTEST_ARGS="-k name", TEST_JOBS=0 for one after the other)
	@$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile $(PYTEST_ARGS)

# The absolute path: these wheels start Python anew by the name it was called with.
test-ros: $(ROS_STAMP) ## Run the nodes' tests in a real ROS graph, with rclpy from wheels in .venv-ros
	@$(abspath $(ROS_VENV))/bin/python -m pytest -n $(TEST_JOBS) --dist loadfile test/ros $(PYTEST_ARGS)

$(ROS_STAMP): $(STAMP) tools/setup_ros_environment.sh
	@tools/setup_ros_environment.sh $(ROS_VENV) $(VENV)
	@touch $@

lint: $(STAMP) ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

check: lint test ## What CI runs: lint, import walls, tests

clean: ## Remove the environment and everything built
	rm -rf $(VENV) $(ROS_VENV) build install log demo_output .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
