# A task as the module that sortie replaces does it: gcloud.sh ARCHIVE-URI RESULT-URI WORKSPACE FIFO
set -e
cd "$3"
mkdir input output
gcloud storage cp "$1" input.tar.gz
tar xzf input.tar.gz -C input
echo > "$4"
mv input/* output
tar czf output.tar.gz -C output .
gcloud storage cp output.tar.gz "$2"
