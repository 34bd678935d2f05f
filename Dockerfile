# docker build -t kv --build-arg VERSION=$(git describe --tags --always) .
# docker run -p 127.0.0.1:7070:7070 -v kv:/data kv --insecure
#
# Instead of --insecure, which lets in everyone who reaches the port, give it users and a certificate:
# docs/operations.md says how.

FROM golang:1.26 AS build
ARG VERSION=unknown
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/ ./cmd/... && mkdir /out/data

FROM scratch
COPY --from=build /out/kvd /out/kvc /usr/local/bin/
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV PATH=/usr/local/bin KVD_LISTEN=:7070 KVD_DATA=/data
VOLUME /data
EXPOSE 7070
ENTRYPOINT ["kvd"]
