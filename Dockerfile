# Larder in the place of registry:2's image: the same port, volume and environment.
# The build context is target/dist, which `cargo xtask dist` fills; `cargo xtask image` builds and proves it.
FROM scratch
COPY larder /larder
# The names that registry:2's image has for its program: links to the one above.
COPY names/ /
# Whoever mounts a configuration where registry:2's and registry:3's images have theirs means it.
ENV LARDER_CONFIG_IF_PRESENT=/etc/docker/registry/config.yml:/etc/distribution/config.yml
VOLUME ["/var/lib/registry"]
EXPOSE 5000
HEALTHCHECK CMD ["/larder", "healthcheck"]
ENTRYPOINT ["/larder"]
CMD ["serve"]
