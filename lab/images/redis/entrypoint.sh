#!/bin/sh
# Gives /data to redis, then becomes the server. A network of containers is no loopback, so its protected mode is off.
set -eu

case "${1:-}" in
-* | *.conf) set -- redis-server "$@" ;;
esac

if [ "$1" = redis-server ]; then
    set -- "$@" --protected-mode no
    if [ "$(id -u)" = 0 ]; then
        find . ! -user redis -exec chown redis:redis {} +
        exec setpriv --reuid redis --regid redis --init-groups "$@"
    fi
fi
exec "$@"
