# What the workflows of GitHub run besides the targets of the root's Makefile, which includes this (docs/security.md).
TOOLS := .venv-tools
TOOLS_STAMP := $(TOOLS)/.installed

define LIST_PACKAGES
from importlib.metadata import distributions
print("\n".join(sorted(f"{one.name}=={one.version}" for one in distributions())))
endef
export LIST_PACKAGES

.PHONY: lint-ci served audit sbom sbom-image next tools-lock

# No package of the tools is one of Yoyak's environment: they are pinned by hash in a file of their own.
$(TOOLS_STAMP): .github/tools.txt
	$(PYTHON) -m venv --clear $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement .github/tools.txt
	@touch $@

lint-ci: $(TOOLS_STAMP) ## check workflows, the Dockerfile, Compose files and shell scripts
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" .github/lint.sh

served: $(STAMP) ## serve the registered champion by `mlflow models serve` and ask it real requests
	python .github/served.py

audit: $(TOOLS_STAMP) ## look for known vulnerabilities of what requirements.lock pins; fails where it cannot tell
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" python3 .github/audit.py requirements.lock

sbom: $(TOOLS_STAMP) ## write sbom.json, what requirements.lock pins, as CycloneDX
	$(TOOLS)/bin/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml --output-file sbom.json requirements.lock

# Python's packages in an image, whatever has put them there; what Debian has installed is not among them.
sbom-image: $(TOOLS_STAMP) ## write release/sbom.json, the Python packages in IMAGE=serve, as CycloneDX
	mkdir -p release
	docker run --rm --entrypoint python "yoyak/$(IMAGE):$(TAG)" -c "$$LIST_PACKAGES" > release/packages.txt
	$(TOOLS)/bin/cyclonedx-py requirements --output-reproducible --output-file release/sbom.json release/packages.txt

next: ## run all tests but those of the export with transformers 5
	PYTHON=$(PYTHON) .github/next.sh

tools-lock: $(STAMP)
	cd .github && pip-compile --quiet --upgrade --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file tools.txt tools.in
