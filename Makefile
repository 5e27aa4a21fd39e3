# make demo: train, shrink, ship and chat on a simulated Arduino UNO.  make check: every test.  Both set everything up first.
.PHONY: demo check setup setup-tests campaign full lint test golden lesson record bench-kernels bench-windows bench-host bench-interpret bench-start bench-train bench-convert bench-ptq bench-records bench-images

PYTHON := .venv/bin/python
LEVSHA := .venv/bin/levsha
ARGS ?=

RUN ?= runs/tinychat

demo: setup
	$(LEVSHA) run tinychat --preset quick --out $(RUN) $(ARGS)
	@for line in "hello" "who are you" "do you like tea" "what is your chip"; do \
	    printf '\n> %s\n' "$$line"; $(LEVSHA) chat $(RUN) --target uno --say "$$line" || $(LEVSHA) chat $(RUN) --say "$$line"; done

check: setup-tests lint test

setup:
	@bash scripts/setup.sh

setup-tests:
	@bash scripts/setup.sh tests

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright

test:
	$(PYTHON) -m pytest -n 2 -m "not campaign"

campaign: setup-tests
	$(PYTHON) -m pytest -n 2 -m campaign

# The recipe that reaches the figures in docs/figures.md: three splits of each kind.
full: setup
	$(LEVSHA) run tinychat --preset full --out runs/full $(ARGS)

# Writes the exact byte and cycle counts, and the golden C, that the tests compare with; look at the difference before a commit.
golden: setup-tests
	$(PYTHON) -m tests.write_golden

bench-start: setup
	$(PYTHON) -m benchmarks.start $(RUN)

# What nets compute, against what was recorded: weights, outputs and tables of one fixed run of each recipe.
record: setup-tests
	$(PYTHON) -m tests.record $(ARGS)

# Cycles a MAC and bytes of the hand-made kernels beside the portable C.
bench-kernels: setup
	$(PYTHON) -m benchmarks.kernels

# Cycles of convolutions and pools on the chip, and microseconds on this machine.
bench-windows: setup
	$(PYTHON) -m benchmarks.windows

# Microseconds of small nets on this machine, beside plain loops.
bench-host: setup
	$(PYTHON) -m benchmarks.host

# Seconds for 10 000 vectors through the interpreter.
bench-interpret: setup
	$(PYTHON) -m benchmarks.interpret

# Step of a small net against a plain torch loop and Lightning, and tinychat's whole training against plain torch; ratios.
bench-train: setup
	@$(PYTHON) -c "import pytorch_lightning" 2>/dev/null || $(PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(PYTHON) -m benchmarks.train
	$(PYTHON) -m benchmarks.train_tinychat

# Conversions beside those of bakenn and emx-onnx-cgen: flash, SRAM, cycles, exactness and what is kept, one table. Both are
# optional and get an environment of their own, so that what they need does not disturb ours.
PEERS := benchmarks/out/convert/venv
bench-convert: setup-tests
	@[ -x $(PEERS)/bin/python ] || python3 -m venv $(PEERS)
	@for tool in bakenn==1.0.0 emx-onnx-cgen==1.4.0; do \
	    $(PEERS)/bin/python -m pip show --quiet $${tool%%==*} 2>/dev/null || \
	    $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check $$tool torch==2.13.0 onnx==1.23.2 onnxruntime==1.32.0 || \
	    echo "bench-convert: going on without $$tool, which pip could not install" >&2; done
	$(PYTHON) -m benchmarks.convert $(ARGS)

# What few bits cost after training and after fine-tuning: docs/images.md, section "Few bits".
bench-ptq: setup
	$(PYTHON) -m benchmarks.ptq --write $(ARGS)

# MNIST in 1.2, 5.5, 11 and 13 kB: hours of training, kept in benchmarks/out/records, where the same command goes on.
bench-records: setup
	$(PYTHON) -m benchmarks.records $(ARGS)

# One trained net in torch's eager quantisation, ONNX Runtime, torchao and Levsha: size, accuracy, agreement, microseconds. torchao is
# optional and lies in a folder of its own, which only its process sees.
TORCHAO := benchmarks/out/images/torchao
bench-images: setup-tests
	@[ -d $(TORCHAO)/torchao ] || $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --target $(TORCHAO) torchao==0.18.0 || \
	    echo "bench-images: going on without torchao, which pip could not install" >&2
	$(PYTHON) -m benchmarks.images --torchao $(TORCHAO) $(ARGS)

# Draws the pictures of docs/lesson.md anew, by running its code.
lesson: setup-tests
	$(PYTHON) -m tests.test_lesson
