// Types of the page's content, for the type checker alone; the fields of iaat/report/report_content.py.

type Series = (number | null)[];

interface Finding { name: string; evidence: string; advice: string; serious: boolean; weak_attack: boolean }

interface Verdict {
  run: number; checkpoint: string; weights: string | null; suite: string; verdict: string; findings: Finding[]; n: number;
  clean: number; attacks: Record<string, number>; interval95: Record<string, [number, number]>; gap: number | null;
  seconds: number; worst_case: string;
}

interface RunPart {
  name: string; folder: string; method: string; seed: number; epochs: number; hardware: Record<string, string>;
  forwards: number | null; backwards: number | null; seconds: number | null; curves: Record<string, Series>;
  quantiles: Record<string, Series>;
}

interface Accuracies { run: number; checkpoint: string; radius_px: number[]; accuracy: number[]; expected: number }

interface Corruptions { run: number; checkpoint: string; accuracy: Record<string, number[]> }

interface MeasuredNorms {
  index?: number[]; radius_px: number[]; norm_px: Series; searched_px: number; correlation: number | null; n: number;
}

interface Radii {
  run: number; epochs: number[]; edges_px: number[]; counts: number[][]; by_class: (Record<string, number> | null)[];
  norms: MeasuredNorms | null;
}

interface Stability { first: number; second: number; correlation: number; n: number }

interface Reading { prediction: number; classes: number[]; probabilities: number[]; label: number; confused: number }

interface Attempt {
  target: number | null; radius_px: number; norm_px: number; succeeded: boolean; reading: Reading; image: string | null;
  perturbation: string | null; factor: number;
}

interface Neighbour { index: number; label: number; distance: number; image: string | null }

interface SampleDetail {
  index: number; label: number; confused: number; clean: Reading; image: string | null; own: Attempt | null;
  uniform: Attempt; smallest_px: number | null; searched_px: number; strip: Attempt[]; space: "penultimate" | "input";
  near_own: Neighbour[]; near_confused: Neighbour[];
}

interface Gallery {
  run: number; total: number; chosen: string; sheets: string[]; columns: number; rows: number; width: number;
  height: number; index: number[]; label: number[]; prediction: number[]; radius_px: number[]; history_px: number[][];
  epochs: number[]; path: string[]; suspicion: Series; kind: ("label" | "ambiguous" | "")[]; suggested: number[];
  details: Record<string, SampleDetail>; no_pictures: string | null;
}

interface SurfacePart {
  index: number; label: number; image: string | null; offsets_px: number[]; losses: Record<string, number[][]>;
  predictions: Record<string, number[][]>; radius_px: number;
}

interface ReportContent {
  title: string; made: string; classes: string[]; runs: RunPart[]; verdicts: Verdict[];
  differences: [string, string[]][]; curves: Accuracies[]; corruptions: Corruptions[]; radii: Radii[];
  stability: Stability[]; gallery: Gallery | null; surfaces: SurfacePart[]; notes: string[];
}

/** What one chart shows: `alt` is a sentence that says the same, `data` and `layout` are Plotly's. */
interface Chart {
  title: string; alt: string; data: object[]; layout?: Record<string, any>; height?: number; columns: string[];
  rows: (string | number | null)[][];
}

/** The element that Plotly draws in. */
interface PlotElement extends HTMLElement { layout?: { autosize: boolean }; on(event: string, listener: (event: any) => void): void }

declare const Plotly: any;
