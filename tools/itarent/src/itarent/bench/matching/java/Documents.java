import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.NumericDocValuesField;
import org.apache.lucene.document.StringField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.DocValues;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.NumericDocValues;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.BooleanClause.Occur;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.ConstantScoreScorerSupplier;
import org.apache.lucene.search.ConstantScoreWeight;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.QueryVisitor;
import org.apache.lucene.search.ScoreMode;
import org.apache.lucene.search.ScorerSupplier;
import org.apache.lucene.search.SimpleCollector;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.search.TwoPhaseIterator;
import org.apache.lucene.search.Weight;
import org.apache.lucene.store.MMapDirectory;

/**
 * Lucene, searches as documents: a document for each row, in the order of key and highest rent, merged into one
 * segment. The key is a term, all else doc values, read side by side for the documents of the key.
 */
final class Documents {
    public static void main(String[] args) throws IOException {
        Path home = Path.of(args[0]);
        Path index = home.resolve("index");
        int[] rows = new int[1];
        try (var directory = new MMapDirectory(index)) {
            var config = new IndexWriterConfig().setRAMBufferSizeMB(512);
            try (var writer = new IndexWriter(directory, config)) {
                rows[0] = Given.forEachRow(home.resolve("rows"), row -> writer.addDocument(document(row)));
                writer.forceMerge(1);
            }
            try (var reader = DirectoryReader.open(directory)) {
                var searcher = new IndexSearcher(reader);
                searcher.setQueryCache(null);  // no two listings ask the same
                Given.serve((probe, into) -> match(searcher, probe, into), rows[0], size(index));
            }
        }
    }

    private static Document document(Given.Row row) {
        var document = new Document();
        document.add(new StringField("key", Integer.toString(row.key()), Field.Store.NO));
        document.add(new NumericDocValuesField("ref", row.ref()));
        document.add(NumericDocValuesField.indexedField("rentLow", row.rentLow()));
        document.add(NumericDocValuesField.indexedField("rentHigh", row.rentHigh()));
        document.add(new NumericDocValuesField("areaLow", row.areaLow()));
        document.add(new NumericDocValuesField("areaHigh", row.areaHigh()));
        document.add(new NumericDocValuesField("deposit", row.deposit()));
        document.add(new NumericDocValuesField("available", row.available()));
        for (int word = 0; word < Given.WORDS; word++) {
            document.add(new NumericDocValuesField("word" + word, row.words()[word]));
        }
        return document;
    }

    @SuppressWarnings("deprecation")  // of collecting without a manager: one thread is what is measured
    private static int match(IndexSearcher searcher, Given.Probe probe, int[] into) throws IOException {
        var refs = new Refs(into);
        Query rest = new Fits(probe);
        for (Given.Look look : probe.looks()) {
            searcher.search(new BooleanQuery.Builder()
                    .add(new TermQuery(new Term("key", Integer.toString(look.key()))), Occur.FILTER)
                    .add(NumericDocValuesField.newSlowRangeQuery("rentHigh", look.high(), Long.MAX_VALUE), Occur.FILTER)
                    .add(NumericDocValuesField.newSlowRangeQuery("rentLow", Long.MIN_VALUE, look.low()), Occur.FILTER)
                    .add(rest, Occur.FILTER)
                    .build(), refs);
        }
        return refs.found;
    }

    private static long size(Path index) throws IOException {
        try (var files = Files.list(index)) {
            return files.mapToLong(file -> file.toFile().length()).sum();
        }
    }

    /** Keeps the refs of what is found. */
    private static final class Refs extends SimpleCollector {
        private final int[] into;
        private NumericDocValues refs;
        private int found;

        Refs(int[] into) {
            this.into = into;
        }

        @Override
        protected void doSetNextReader(LeafReaderContext context) throws IOException {
            refs = DocValues.getNumeric(context.reader(), "ref");
        }

        @Override
        public void collect(int document) throws IOException {
            refs.advanceExact(document);
            into[found++] = (int) refs.longValue();
        }

        @Override
        public ScoreMode scoreMode() {
            return ScoreMode.COMPLETE_NO_SCORES;
        }
    }

    /** What no query of Lucene's does: compares bits; and the bounds that refuse little, in the same breath. */
    private static final class Fits extends Query {
        private final Given.Probe probe;

        Fits(Given.Probe probe) {
            this.probe = probe;
        }

        @Override
        public Weight createWeight(IndexSearcher searcher, ScoreMode scoreMode, float boost) {
            return new ConstantScoreWeight(this, boost) {
                @Override
                public ScorerSupplier scorerSupplier(LeafReaderContext context) throws IOException {
                    return ConstantScoreScorerSupplier.fromIterator(
                            TwoPhaseIterator.asDocIdSetIterator(new Comparison(context, probe)),
                            boost, scoreMode, context.reader().maxDoc());
                }

                @Override
                public boolean isCacheable(LeafReaderContext context) {
                    return false;
                }
            };
        }

        @Override
        public void visit(QueryVisitor visitor) {
            visitor.visitLeaf(this);
        }

        @Override
        public String toString(String field) {
            return "fits";
        }

        @Override
        public boolean equals(Object other) {
            return this == other;
        }

        @Override
        public int hashCode() {
            return System.identityHashCode(this);
        }
    }

    private static final class Comparison extends TwoPhaseIterator {
        private final Given.Probe probe;
        private final NumericDocValues[] words = new NumericDocValues[Given.WORDS];
        private final NumericDocValues areaLow;
        private final NumericDocValues areaHigh;
        private final NumericDocValues deposit;
        private final NumericDocValues available;
        private int document;

        Comparison(LeafReaderContext context, Given.Probe probe) throws IOException {
            super(DocIdSetIterator.all(context.reader().maxDoc()));
            this.probe = probe;
            for (int word = 0; word < words.length; word++) {
                words[word] = DocValues.getNumeric(context.reader(), "word" + word);
            }
            areaLow = DocValues.getNumeric(context.reader(), "areaLow");
            areaHigh = DocValues.getNumeric(context.reader(), "areaHigh");
            deposit = DocValues.getNumeric(context.reader(), "deposit");
            available = DocValues.getNumeric(context.reader(), "available");
        }

        @Override
        public boolean matches() throws IOException {
            document = approximation.docID();
            for (int word = 0; word < words.length; word++) {
                if ((value(words[word]) & probe.words()[word]) != probe.words()[word]) {
                    return false;
                }
            }
            return value(areaLow) <= probe.areaLow() && value(areaHigh) >= probe.areaHigh()
                    && value(deposit) >= probe.deposit() && value(available) >= probe.available();
        }

        private long value(NumericDocValues of) throws IOException {
            of.advanceExact(document);
            return of.longValue();
        }

        @Override
        public float matchCost() {
            return 20;
        }
    }
}
