# build each given module (or all changed) separately, showing only errors
for f in ${@:-broker/hub broker/log_owner broker/entry_codec broker/port broker/consumer broker/queue broker/publisher broker/link protocols/amqp091/channel protocols/amqp091/checks protocols/amqp091/session}; do
  .venv/bin/cython -3 -X boundscheck=True -X wraparound=False -X annotation_typing=False -X nonecheck=True -I src -o /tmp/x.c src/entrepot/$f.py 2>&1 | grep -v "^$" | head -30
done
