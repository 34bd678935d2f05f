# kvd and kvc, and nothing else: static binaries on an empty image, as a user without rights.
#
#   docker build -t kv --build-arg VERSION="$(git describe --tags --always)" --build-arg REVISION="$(git rev-parse HEAD)" .
#   docker run --rm --name kv -p 127.0.0.1:7070:7070 -v kv-data:/data --stop-timeout 30 kv --insecure
#   docker exec kv /kvc ping
#
# In a container kvd has to listen on all addresses to be reached, and so asks who may connect: give it --auth-file, or
# --insecure where the published port is for this machine alone, as above.
#
# The data are in /data/kv, which is kvd's alone. A named volume takes its owner from the image's /data, user 65532. A folder of the
# host's keeps its own: `chown 65532:65532 folder` before `-v folder:/data`, or `--user` with its owner.
#
# Built for another processor without emulation: docker buildx build --platform linux/amd64,linux/arm64 .
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
	-ldflags "-s -w -buildid= -X kv/cmd/internal/version.linked=$VERSION" -o /out/ ./cmd/kvd ./cmd/kvc \
	&& mkdir /out/data

FROM scratch
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="kv" \
	org.opencontainers.image.description="An in-memory key-value server, and its client" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/kvd /out/kvc /
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV KVD_LISTEN=:7070 KVD_HTTP=:7071 KVD_DATA=/data/kv
VOLUME /data
EXPOSE 7070 7071
# Healthy is who takes reads and writes; until the data are loaded it is "starting", for a quarter of an hour at most.
HEALTHCHECK --interval=10s --timeout=4s --start-period=15m --start-interval=1s --retries=3 CMD ["/kvd", "health"]
ENTRYPOINT ["/kvd"]
