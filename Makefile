# Needs Python >= 3.11 and the package registries; everything else comes by name from requirements.lock.
# PYTHON=... chooses the interpreter, ARGS=... is passed on.

ITARENT = .venv/bin/itarent
PIP     = .venv/bin/python -m pip --disable-pip-version-check
UV      = .venv/bin/uv pip install --system-certs --python .venv
MEMBERS = $(patsubst %/pyproject.toml,%,$(wildcard libs/*/pyproject.toml services/*/pyproject.toml tools/*/pyproject.toml))
PYTHONS = $(PYTHON) python3.13 python3.12 python3.11 python3
RENTALS = $(or $(DATA),../shared/data/listings/italy_rentals_2023.csv.gz)
USABLE  = import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

.PHONY: help demo up test check check-deploy fuzz crash faults mutants bench-churn bench-kafka bench-latency bench-match \
        bench-pipeline bench-preview bench-restart bench-scale bench-sender lock openapi clean
.DEFAULT_GOAL = help

help:  ## these lines
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

demo: .venv/ready  ## the whole system with renters and listings; FRESH=1 starts over
	@$(ITARENT) demo $(if $(FRESH),--fresh) $(ARGS)

up: .venv/ready  ## the whole system, empty
	@$(ITARENT) up $(ARGS)

test: .venv/ready  ## every check and every test that CI runs
	@$(ITARENT) test $(ARGS)

check: .venv/ready  ## what is quick: format, lint, types, imports, lock
	@$(ITARENT) test --quick

check-deploy: .venv/ready  ## images, manifests and docker compose for real; needs a Docker engine
	@$(ITARENT) test --deploy

fuzz: .venv/ready  ## requests of every kind to the api, for an hour at most; EXAMPLES=500 for each operation
	@FUZZ_EXAMPLES=$(or $(EXAMPLES),500) .venv/bin/pytest -s services/api/tests/test_fuzz.py $(ARGS)

crash: .venv/ready  ## matchers come, go, die and freeze while listings flow; SEEDS=10 runs ten different times
	@CRASH_SEEDS=$(or $(SEEDS),1) .venv/bin/pytest tests/test_crash.py $(ARGS)

faults: .venv/ready  ## break everything while listings flow, and judge the laws; SEEDS=5, FAMILY="killed kafka", SEED=3
	@$(ITARENT) faults $(patsubst %,--family %,$(FAMILY)) --seeds $(or $(SEEDS),1) $(if $(SEED),--seed $(SEED)) $(ARGS)

mutants: .venv/ready  ## small mistakes in the index, which its tests must notice; COUNT=0 makes all, SEED=2 others
	@$(ITARENT) mutants --count $(or $(COUNT),60) --seed $(or $(SEED),1) $(ARGS)

bench-churn: .venv/ready  ## matching while a thousand searches change a second; DATA names the file of real rentals
	@$(ITARENT) bench churn $(RENTALS) $(ARGS)

bench-kafka: .venv/ready  ## the matcher from Kafka to Kafka, beside the bare client
	@$(ITARENT) bench kafka $(ARGS)

bench-latency: .venv/ready  ## listing published to notification published
	@$(ITARENT) bench latency $(RENTALS) $(ARGS)

bench-match: .venv/ready  ## matching beside Lucene, PostgreSQL, DuckDB, SQLite and the plain loop, up to 5M searches
	@$(ITARENT) bench match $(RENTALS) $(ARGS)

bench-pipeline: .venv/ready  ## the whole way under load
	@$(ITARENT) bench pipeline $(RENTALS) $(ARGS)

bench-preview: .venv/ready  ## dry runs and explanations over 100,000 recent listings; DATA as above
	@$(ITARENT) bench preview $(RENTALS) $(ARGS)

bench-restart: .venv/ready  ## how long a matcher takes to start with a million searches
	@$(ITARENT) bench restart $(RENTALS) $(ARGS)

bench-scale: .venv/ready  ## one, two and four matchers on one Kafka
	@$(ITARENT) bench scale $(RENTALS) $(ARGS)

bench-sender: .venv/ready  ## the sender: intake, dispatch beside others, replicas, 10M rows, latency, digests; DATA as above
	@$(ITARENT) bench sender $(RENTALS) $(ARGS)

lock: .venv/ready  ## requirements.lock after a change of dependencies; UPGRADE=1 takes the newest versions
	@$(ITARENT) lock $(if $(UPGRADE),--upgrade)

openapi: .venv/ready  ## docs/openapi.json after a change of the api's routes
	@$(ITARENT) openapi

clean:  ## forget what the servers stored and what was downloaded
	rm -rf .itarent .venv

# The environment is brought up to date when the lock or a member's pyproject.toml changes. uv comes first because it
# installs the rest in a tenth of the time; where the index is known to pip alone, pip does it.
.venv/ready: requirements.lock $(MEMBERS:=/pyproject.toml)
	@$(PIP) --version >/dev/null 2>&1 || $(MAKE) --no-print-directory .venv/new
	@echo 'Installing requirements.lock into .venv' && sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >.venv/uv.lock
	@$(PIP) install --quiet --require-hashes -r .venv/uv.lock
	@$(UV) --require-hashes -r requirements.lock || $(PIP) install --require-hashes -r requirements.lock
	@$(UV) --quiet --offline --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@touch $@

.PHONY: .venv/new
.venv/new:
	@for python in $(PYTHONS); do \
	    if $$python -c '$(USABLE)' 2>/dev/null; then exec $$python -m venv --clear .venv; fi; \
	done; \
	echo 'Python 3.11 or newer with venv is needed (on Debian: apt install python3 python3-venv).' >&2; exit 1
