# One image for every app. The image contains no code: that comes from repositories mounted under /repos. The configuration is
# mounted as /etc/release-agent/release-agent.toml, and the services as /etc/supervisor.d/*.conf.
# With release-agent.toml (and allowed_signers) in ./config and web.conf in ./services:
#
#   docker build -t release-agent .
#   docker run -v /repositories/api:/repos/api:ro \
#              -v ./config:/etc/release-agent:ro \
#              -v ./services:/etc/supervisor.d:ro \
#              -v api:/srv/app release-agent
#
# Mount these directories, never a single file of them. Editors and `git pull` replace the old file by a new
# one, and a container that has mounted the old file does not see the new one.
#
# The image also runs with --read-only and tmpfs on /run and /tmp. Build hooks that keep caches in their home then need
# a mount on /home/release. KILL interrupts requests: give the container a stop time-out (--stop-timeout,
# stop_grace_period) well above the stopwaitsecs of its services.
#
# The base can be any Debian-like image with Python 3.11 or newer and its venv module. The user `release` must be able to
# execute that Python, so it must not be below /root.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /src
# The dependencies change rarely, the agent's code often: two layers.
COPY pyproject.toml setup.cfg setup.py ./
COPY release_agent/__init__.py release_agent/
RUN python3 -m venv /opt/release-agent \
 && /opt/release-agent/bin/pip install --no-cache-dir .
COPY README.md LICENSE ./
COPY man man
COPY supervisor.d supervisor.d
COPY release_agent release_agent
# Remove pip, which takes 16 MB, because no package is installed later.
RUN /opt/release-agent/bin/pip install --no-cache-dir --no-deps --force-reinstall . \
 && /opt/release-agent/bin/pip uninstall --yes --quiet setuptools pip

FROM ${BASE_IMAGE}
# ssh-keygen checks the signatures of tags.
RUN apt-get update \
 && apt-get install -y --no-install-recommends git openssh-client \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
# `release` runs the agent and owns the releases, `app` runs the services and owns no file of a release.
# The numbers must never change, because the volume outlives the image. `release` is in the group `app`, so that a hook
# can give a shared directory to the services (supervisor.d/example-service.conf).
ARG RELEASE_UID=900
ARG APP_UID=901
RUN groupadd --system --gid ${RELEASE_UID} release \
 && groupadd --system --gid ${APP_UID} app \
 && useradd --system --uid ${RELEASE_UID} --gid release --groups app --create-home --shell /usr/sbin/nologin release \
 && useradd --system --uid ${APP_UID} --gid app --create-home --shell /usr/sbin/nologin app \
 && install -d -o release -g release /srv/app \
 && install -d /repos /etc/release-agent /etc/supervisor.d
COPY --from=build /opt/release-agent /opt/release-agent
# Links instead of the environment's bin/ in PATH: the `python3` of a service must be the image's, not the agent's.
RUN ln -s /opt/release-agent/bin/release-agent /opt/release-agent/bin/supervisord \
          /opt/release-agent/bin/supervisorctl /usr/local/bin/
COPY supervisor.d/supervisord.conf /etc/supervisord.conf
COPY supervisor.d/deploy.conf supervisor.d/boot.conf supervisor.d/plugin.conf supervisor.d/monitor.conf /opt/release-agent/supervisor.d/
ENV PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
ENV RELEASE_AGENT_CONFIG=/etc/release-agent/release-agent.toml
# supervisord gives its address to its children. This variable gives it to `docker exec … release-agent status`.
ENV SUPERVISOR_SERVER_URL=unix:///run/supervisor.sock
VOLUME /srv/app
# As PID 1 supervisord reaps orphans, so the image needs no other init. It runs as root to start programs as other users.
CMD ["supervisord", "--configuration=/etc/supervisord.conf"]
