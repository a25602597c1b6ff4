# The same commands as `python3 course.py COMMAND`; ARGS="--port 9000" adds options.
PYTHON ?= python3

.PHONY: lab hub room-test catch-up wheels preflight test test-all bench lessons torches notebooks exercises report site constraints readme links clean-venv
lab hub room-test catch-up wheels preflight test test-all bench lessons torches notebooks exercises report site constraints readme clean-venv:
	$(PYTHON) course.py $@ $(ARGS)

links:
	$(PYTHON) course.py links $(if $(REPO),REPO=$(REPO)) $(if $(REF),REF=$(REF))
