# kvd and kvc, and nothing else: static binaries on an empty image, as a user without rights.
#
#   docker build -t kv --build-arg VERSION="$(git describe --tags --always)" .
#   docker run --rm -p 127.0.0.1:7070:7070 -v kv-data:/data kv --data /data --insecure
#
# In a container, kvd has to listen on all addresses to be reached, and so asks who may connect: give it --auth-file, or
# --insecure where the published port is for this machine alone, as above.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X kv/cmd/internal/version.linked=$VERSION" -o /out/ ./cmd/... \
	&& mkdir /out/data

FROM scratch
COPY --from=build /out/kvd /out/kvc /
# A folder that the user may write to; a volume that is mounted here takes its owner from it.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV KVD_LISTEN=:7070
EXPOSE 7070
ENTRYPOINT ["/kvd"]
