# A task with curl and tar: curl.sh DOWNLOAD-URL UPLOAD-URL WORKSPACE FIFO
set -e
cd "$3"
mkdir input output
curl -sf "$1" | tar xzf - -C input
echo > "$4"
mv input/* output
tar czf - -C output . | curl -sf -o /dev/null -X POST -H 'Content-Type: application/gzip' -T - "$2"
