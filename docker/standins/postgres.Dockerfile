# A stand-in for the image of PostgreSQL, from an image in which Debian's package postgresql-17 is installed.
ARG DEBIAN_IMAGE
# hadolint ignore=DL3006
FROM ${DEBIAN_IMAGE}
COPY --chmod=755 postgres-entrypoint.sh /usr/local/bin/entrypoint
ENV PATH=/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
RUN install --directory --owner=postgres --group=postgres --mode=1777 "$PGDATA" /var/run/postgresql \
    && install --directory /docker-entrypoint-initdb.d
# hadolint ignore=DL3066
USER postgres
VOLUME /var/lib/postgresql/data
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["entrypoint"]
CMD ["postgres"]
