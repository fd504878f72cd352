# syntax=docker/dockerfile:1
# The program alone: a static binary in an image of some 17 MB.
#
#   docker build -t nnunet .
#   docker run --rm -v "$PWD:/data" nnunet doctor
#   docker run --rm -v "$PWD:/data" -u "$(id -u):$(id -g)" nnunet predict -i images -o predictions -m model
#
# Paths are those below /data, where the three folders of nnU-Net are expected too.

FROM rust:1-bookworm AS build
RUN rustup target add --toolchain "$(rustup toolchain list | head -n 1 | cut -d ' ' -f 1)" x86_64-unknown-linux-musl \
 && apt-get update && apt-get install -y --no-install-recommends musl-tools \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The toolchain of the image; rust-toolchain.toml would download the newest one.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    toolchain=$(rustup toolchain list | head -n 1 | cut -d ' ' -f 1) \
 && export RUSTUP_TOOLCHAIN="$toolchain" \
 && cargo build --release --locked --target x86_64-unknown-linux-musl -p nnunet-cli \
 && cp target/x86_64-unknown-linux-musl/release/nnunet /nnunet \
 && mkdir -p /image/tmp /image/data && chmod 1777 /image/tmp

FROM scratch
COPY --from=build /image/ /
COPY --from=build /nnunet /usr/bin/nnunet
COPY LICENSE NOTICE /usr/share/doc/nnunet/
ENV nnUNet_raw=/data/raw nnUNet_preprocessed=/data/preprocessed nnUNet_results=/data/results
WORKDIR /data
ENTRYPOINT ["/usr/bin/nnunet"]
CMD ["--help"]
