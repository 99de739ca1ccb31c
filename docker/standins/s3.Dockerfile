# A stand-in for an S3-compatible store: rclone (1.75 or later), whose binary is in a folder that the build is given.
ARG PYTHON_IMAGE
# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE}
# A build context of that name: --build-context rclone=FOLDER.
# hadolint ignore=DL3022
COPY --from=rclone --chmod=755 rclone /usr/local/bin/rclone
COPY start-s3.sh /start-standin.sh
RUN groupadd --gid 10002 rclone && useradd --uid 10002 --gid 10002 --no-create-home rclone && install --directory --owner=rclone --mode=0700 /data
USER 10002:10002
VOLUME /data
EXPOSE 9000
ENTRYPOINT ["/bin/sh", "/start-standin.sh"]
