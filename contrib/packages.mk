# Debian 12 packages: what the build needs, and what the tests need beside it.
BUILD_PACKAGES := gcc make pkg-config libc6-dev libevent-dev libmsgpack-dev \
	libseccomp-dev libpcap-dev libjansson-dev libslirp-dev libglib2.0-dev
CHECK_PACKAGES := libcmocka-dev python3 python3-pytest qemu-system-common iperf3 \
	iputils-ping \
	iproute2 tcpdump vde2 qemu-system-x86 linux-image-cloud-amd64 \
	busybox-static cpio universal-ctags mandoc \
	user-mode-linux dpdk-dev librte-net-vhost23 librte-net-virtio23
# For make check-clients alone: they are large. Node may be there otherwise.
CLIENT_PACKAGES = golang-go golang-github-digitalocean-go-qemu-dev \
	$(if $(shell command -v npm),,nodejs npm)
LINT_PACKAGES := clang-format clang-tidy cppcheck shellcheck mandoc
FUZZ_PACKAGES := clang libclang-rt-14-dev
