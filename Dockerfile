# syntax=docker/dockerfile:1

# kt in a container: one binary, certificates, and a first configuration.
#
#   docker build -t kt .
#   docker run --hostname kt -p 41002:41002 -e CEREBRAS_API_KEY -v kt-state:/var/lib/kt kt
#   docker run -p 41002:41002 kt gateway run --policy-config /etc/kt/policy-config.yaml --simulate    (no key, no network)
#
# The audit log is named after the host: give the container a --hostname (a StatefulSet has one), or every new container begins a
# new log beside the old ones.
#
# Your own configuration: -v ./policy-config.yaml:/etc/kt/policy-config.yaml:ro, reloaded by `docker kill --signal HUP`.
# Probes are HTTP on the public port: GET /healthz for liveness, GET /readyz for readiness, which turns 503 half a second before
# the listener closes. Requests under way get 30 seconds to end: stop with a grace period above that (docker stop --time 45,
# terminationGracePeriodSeconds: 45). The admin listener stays on the container's loopback; to let a scraper in, add
# --admin-listen 0.0.0.0:41003 and publish that port to nobody else.

FROM rust:1.95-bookworm AS build
WORKDIR /build

# The dependencies, which change rarely, are a layer of their own: built for a crate that is still empty, and fails if it is run.
COPY Cargo.toml Cargo.lock ./
COPY vendor vendor
COPY .cargo .cargo
RUN mkdir src \
    && echo 'fn main() { panic!("kt itself was not built") }' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin kt \
    && rm -r src

# Then kt itself. The files may be older than the build of the empty crate, and cargo goes by their time: so it is set.
COPY src src
RUN find src -type f -exec touch {} + \
    && cargo build --release --locked --bin kt \
    && target/release/kt --version


FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="kt" \
      org.opencontainers.image.description="An edge gateway for LLM traffic" \
      org.opencontainers.image.licenses="Apache-2.0"

# The certificates come from the build image: no package manager runs here. The user has a number and no name, so that
# `runAsNonRoot` can be checked without reading /etc/passwd.
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/kt
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /usr/share/doc/kt/
COPY conf/policy-config.yaml /etc/kt/
COPY --from=build /build/target/release/kt /usr/local/bin/

# The audit log is $STATE_DIRECTORY/audit.
ENV STATE_DIRECTORY=/var/lib/kt
USER 65532:65532
WORKDIR /var/lib/kt
VOLUME /var/lib/kt
EXPOSE 41002
STOPSIGNAL SIGTERM

ENTRYPOINT ["kt"]
CMD ["gateway", "run", "--listen", "0.0.0.0:41002", "--policy-config", "/etc/kt/policy-config.yaml"]
