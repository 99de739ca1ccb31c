# The server stack in containers (docs/containers.md). Included by the Makefile of the root.
DOCKER ?= docker
STACK ?= docker/compose.yaml
IMAGES ?= mlflow serve train-cpu
TAG ?= local
BACKUPS ?= docker/backups
# The newest backup, unless another one is named.
BACKUP ?= $(lastword $(sort $(wildcard $(BACKUPS)/*Z)))
COMPOSE = $(DOCKER) compose $(addprefix --file ,$(STACK))
# Compose's project, whose name its volumes begin with.
export COMPOSE_PROJECT_NAME ?= yoyak
export YOYAK_TAG ?= $(TAG)
comma := ,
LABEL := org.opencontainers.image
# What a machine without direct access to registries gives a build: another base image, and pip's configuration.
BUILD_FLAGS ?= $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) $(if $(PIP_CONF),--secret id=pip$(comma)src=$(PIP_CONF))
# Where train-cpu has torch from: the address of PyTorch's wheels for processors, or a folder of wheels.
CPU_FLAGS ?= $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) $(if $(WHEELS),--build-context wheels=$(WHEELS))

.PHONY: images images-check secrets up down logs backup restore containers-test standins

images: ## build the images IMAGES="mlflow serve train-cpu"
	@set -e; for image in $(IMAGES); do \
	    echo "yoyak/$$image:$(TAG)"; \
	    flags=; [ $$image != train-cpu ] || flags='$(CPU_FLAGS)'; \
	    $(DOCKER) build --quiet --file docker/Dockerfile --target $$image --tag yoyak/$$image:$(TAG) $(BUILD_FLAGS) $$flags \
	        --label $(LABEL).version="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/yoyak/__init__.py)" \
	        --label $(LABEL).revision="$$(git rev-parse HEAD)" --label $(LABEL).created="$$(git show --no-patch --format=%cI HEAD)" . ; \
	done

secrets:
	@DOCKER="$(DOCKER)" docker/secrets.sh $(COMPOSE_PROJECT_NAME)_postgres

up: secrets ## start the server stack: PostgreSQL, S3, MLflow; the first time, make its secrets and images
	@$(DOCKER) image inspect yoyak/mlflow:$(TAG) >/dev/null 2>&1 || $(MAKE) --no-print-directory images IMAGES=mlflow
	$(COMPOSE) up --detach --wait
	@echo "MLflow: http://$$($(COMPOSE) port mlflow 5000), user trainer or admin, passwords in docker/secrets"

down: ## stop the server stack; its data stay in their volumes
	$(COMPOSE) --profile '*' down --remove-orphans

logs: ## follow the logs of the server stack
	$(COMPOSE) --profile '*' logs --follow --tail 100

backup: ## save the databases and objects of the server stack to a folder of docker/backups
	@COMPOSE="$(COMPOSE)" docker/backup.sh "$(BACKUPS)"

restore: secrets ## bring back the newest backup, or BACKUP=docker/backups/…; FORCE=1 replaces what is there
	@COMPOSE="$(COMPOSE)" docker/restore.sh "$(BACKUP)"

containers-test: ## build the images and walk the whole path: train, register, serve, ask, back up, lose, restore
	python3 docker/walk.py $(STEPS)

# What stands in for PostgreSQL's and SeaweedFS's images on a machine that cannot pull them (docs/containers.md).
standins:
	$(DOCKER) build --quiet --file docker/standins/postgres.Dockerfile --build-arg DEBIAN_IMAGE=$(DEBIAN_IMAGE) \
	    --tag yoyak/standin-postgres:local docker/standins
	$(DOCKER) build --quiet --file docker/standins/s3.Dockerfile --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) \
	    --build-context rclone=$(RCLONE_FOLDER) --tag yoyak/standin-s3:local docker/standins
