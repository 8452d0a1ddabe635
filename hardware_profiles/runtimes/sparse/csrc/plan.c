#include "plan.h"

Fault plan_check(const Sparse *m) {
    int64_t entry = 0;
    for (int64_t row = 0; row < m->rows; row++) {
        int64_t count = m->counts[row];
        if (count < 0 || count > m->entries - entry) return (Fault){"count", row, count};
        for (int64_t last = -1, end = entry + count; entry < end; entry++) {
            int64_t column = m->columns[entry];
            if (column >= m->width) return (Fault){"column", row, column};
            if (column <= last) return (Fault){"column order", row, column};
            last = column;
        }
    }
    return entry == m->entries ? (Fault){0} : (Fault){"sum of counts", m->rows, entry};
}

static int64_t pieces(int64_t whole, int64_t piece) { return (whole + piece - 1) / piece; }

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static size_t aligned(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

/* How many elements the lists of a plan hold at most. */
typedef struct {
    size_t segments, runs, row_ids;
} Lengths;

static Lengths lengths_of(const Sparse *m, int64_t block, int64_t chunk) {
    int64_t blocks = pieces(m->width, block), segments = blocks * pieces(m->rows, chunk);
    int64_t row_ids = smaller(m->entries, (blocks - 1) * m->rows) + m->rows;
    int64_t lengths = smaller(block + 1, chunk); /* of rows, in one segment */
    return (Lengths){(size_t)segments, (size_t)smaller(row_ids, segments * lengths), (size_t)row_ids};
}

size_t plan_bytes(const Sparse *m, int64_t block, int64_t chunk) {
    Lengths n = lengths_of(m, block, chunk);
    return aligned((n.segments + 1) * sizeof(Segment)) + aligned(n.runs * sizeof(Run)) +
           aligned(n.row_ids * sizeof(uint16_t)) + aligned((size_t)m->entries * sizeof(uint16_t)) +
           aligned((size_t)m->entries * sizeof(uint32_t));
}

size_t plan_work_bytes(int64_t block, int64_t chunk) {
    return (size_t)(2 * chunk + block + 2) * sizeof(int64_t);
}

typedef struct {
    int64_t *next;   /* [chunk] the first entry of each row that no block has taken yet */
    int64_t *ends;   /* [chunk] where the row ends */
    int64_t *places; /* [block + 2] by length: where its rows go */
} Work;

static int64_t entries_before(const Sparse *m, const Work *w, int64_t row, int64_t limit) {
    int64_t entry = w->next[row];
    while (entry < w->ends[row] && m->columns[entry] < limit) entry++;
    return entry - w->next[row];
}

/* Entries `length` of `rows` rows, the first of every row, then the second of every row ... */
static void interleave(const Sparse *m, Plan *p, const uint16_t *row_ids, Run group, int64_t start, uint32_t out,
                       const Work *w) {
    for (uint32_t i = 0; i < group.rows; i++) {
        int64_t entry = w->next[row_ids[i]];
        for (uint32_t place = out + i; entry < w->next[row_ids[i]] + group.length; entry++, place += group.rows) {
            p->columns[place] = (uint16_t)(m->columns[entry] - start);
            p->weights[place] = m->weights[entry];
        }
        w->next[row_ids[i]] = entry;
    }
}

/* Writes the entries of a segment's runs and returns where the next segment's start. */
static uint32_t lay_out(const Sparse *m, Plan *p, const Segment *segment, int64_t start, const Work *w) {
    const uint16_t *row_ids = p->row_ids + segment->first_row;
    uint32_t out = segment->first_entry;
    for (uint32_t r = 0; r < segment->runs; r++) {
        Run left = p->runs[segment->first_run + r];
        while (left.rows) {
            Run group = {left.length, left.rows < PLAN_GROUP ? 1 : PLAN_GROUP};
            interleave(m, p, row_ids, group, start, out, w);
            out += group.length * group.rows, row_ids += group.rows, left.rows -= group.rows;
        }
    }
    return out;
}

/* One segment: a counting sort of the chunk's rows by their number of entries in the block. */
static void build_segment(const Sparse *m, Plan *p, Segment *segment, int64_t rows, int64_t block, const Work *w) {
    int64_t start = block * p->block, limit = start + p->block, lengths = p->block + 1;
    int64_t shortest = block == 0 ? 0 : 1; /* the first block also lists rows without entries: they get their bias */
    for (int64_t length = 0; length <= lengths; length++) w->places[length] = 0;
    for (int64_t row = 0; row < rows; row++) w->places[entries_before(m, w, row, limit)]++;

    uint32_t place = segment->first_row;
    for (int64_t length = shortest; length < lengths; length++) {
        uint32_t count = (uint32_t)w->places[length];
        if (count) p->runs[segment->first_run + segment->runs++] = (Run){(uint32_t)length, count};
        w->places[length] = place;
        place += count;
    }
    for (int64_t row = 0; row < rows; row++) {
        int64_t length = entries_before(m, w, row, limit);
        if (length >= shortest) p->row_ids[w->places[length]++] = (uint16_t)row;
    }

    segment[1] = (Segment){segment->first_run + segment->runs, 0, place, lay_out(m, p, segment, start, w)};
}

Plan plan_build(const Sparse *m, int64_t block, int64_t chunk, void *memory, void *work) {
    Plan p = {m->rows, m->width, block, chunk, pieces(m->width, block), pieces(m->rows, chunk), 0, 0, 0, 0, 0};
    Work w = {work, (int64_t *)work + chunk, (int64_t *)work + 2 * chunk};
    Lengths n = lengths_of(m, block, chunk);
    char *at = memory;
    p.segments = (Segment *)at, at += aligned((n.segments + 1) * sizeof(Segment));
    p.runs = (Run *)at, at += aligned(n.runs * sizeof(Run));
    p.row_ids = (uint16_t *)at, at += aligned(n.row_ids * sizeof(uint16_t));
    p.columns = (uint16_t *)at, at += aligned((size_t)m->entries * sizeof(uint16_t));
    p.weights = (uint32_t *)at;

    Segment *segment = p.segments;
    *segment = (Segment){0, 0, 0, 0};
    int64_t entry = 0;
    for (int64_t c = 0; c < p.chunks; c++) {
        int64_t rows = smaller(chunk, m->rows - c * chunk);
        for (int64_t row = 0; row < rows; row++) {
            w.next[row] = entry;
            w.ends[row] = entry += m->counts[c * chunk + row];
        }
        for (int64_t b = 0; b < p.blocks; b++) build_segment(m, &p, segment++, rows, b, &w);
    }
    return p;
}
